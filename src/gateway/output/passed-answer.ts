import type { AppError } from '../../core/errors.ts';
import type { CollectedTurn } from '../../core/protocol.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { HttpAnswer, usageHeaders } from './http-answer.ts';

/** An answer whose bytes are the upstream's. One that breaks off is cut, since nothing within it could say so. */
export class PassedAnswer<Options> extends HttpAnswer<Options> {
  readonly isBuffered = false;
  #isBegun = false;

  override write(_choice: number, events: readonly TurnEvent[]): Promise<void> | undefined {
    if (this.isOver) return undefined;
    this.#begin({});
    return this.response.write(bytesOf(events)) ? undefined : this.drainOf(this.response);
  }

  override finish(_choice: number, { usage }: CollectedTurn, events: readonly TurnEvent[]): void {
    if (this.isOver) return;
    this.isOver = true;
    const bytes = bytesOf(events);
    this.#begin({ ...(usage && usageHeaders(usage)), 'content-length': bytes.length });
    this.response.end(bytes);
  }

  protected override writeError(choice: number, error: AppError, events: readonly TurnEvent[]): void {
    if (this.#isBegun) this.cut();
    else super.writeError(choice, error, events);
  }

  #begin(more: Readonly<Record<string, string | number>>): void {
    if (this.#isBegun) return;
    this.#isBegun = true;
    const [attempt] = this.known;
    const contentType = attempt?.contentType || 'application/octet-stream';
    this.response.writeHead(200, { ...this.headers(), ...more, 'content-type': contentType });
  }
}

function bytesOf(events: readonly TurnEvent[]): Buffer {
  const parts = events.flatMap((event) => (event.type === 'passed' ? [event.bytes] : []));
  return Buffer.concat(parts);
}
