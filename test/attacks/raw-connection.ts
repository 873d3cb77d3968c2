import { connect, type Socket } from 'node:net';

/** What came back on a connection. */
export interface RawAnswers {
  /** Of each answer, in order; those of a connection that said nothing are none. */
  readonly statuses: readonly number[];
  readonly text: string;
  /** Whether the service ended the connection. */
  readonly isEnded: boolean;
}

export interface Sending {
  readonly url: string;
  /** Sent as it is, part after part. */
  readonly parts: Iterable<string | Buffer>;
  /** Looks at what came so far: true when that is enough. Default: the first answer is whole. */
  readonly isEnough?: (text: string) => boolean;
  /** Goes on sending after the answer, as long as the connection takes it. */
  readonly isStubborn?: boolean;
  /** For a service that says nothing, or does not end what it should. */
  readonly limitMs?: number;
  /** It is enough when nothing more has come for so long. */
  readonly quietMs?: number;
}

/** Sends bytes over a connection of its own, and waits for what comes back. */
export async function sendRaw({
  url,
  parts,
  isEnough = isAnswered,
  isStubborn = false,
  limitMs = 30_000,
  quietMs,
}: Sending): Promise<RawAnswers> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let text = '';
  let isEnded = false;
  let finish = (): void => {};
  let quiet: NodeJS.Timeout | undefined;
  const ended = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, limitMs);
    socket.on('close', () => {
      clearTimeout(timer);
      isEnded = true;
      resolve();
    });
  });
  const answered = new Promise<void>((resolve) => {
    finish = resolve;
  });
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
    if (isEnough(text)) finish();
    clearTimeout(quiet);
    if (quietMs !== undefined) quiet = setTimeout(finish, quietMs);
  });
  socket.on('error', () => {});
  const poured = pour(socket, parts);
  await Promise.race([ended, isStubborn ? poured.then(() => answered) : answered]);
  socket.destroy();
  return { statuses: statusesIn(text), text, isEnded };
}

async function pour(socket: Socket, parts: Iterable<string | Buffer>): Promise<void> {
  let goOn = (): void => {};
  for (const name of ['drain', 'close']) socket.on(name, () => goOn());
  for (const part of parts) {
    if (socket.destroyed) return;
    if (socket.write(typeof part === 'string' ? Buffer.from(part, 'latin1') : part)) continue;
    await new Promise<void>((resolve) => {
      goOn = resolve;
    });
  }
}

/** A request line and its headers. */
export function headOf(line: string, headers: Readonly<Record<string, string>>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${line} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

export function statusesIn(text: string): number[] {
  return [...text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status));
}

/** Until the end of the connection. */
export const untilItEnds = (): boolean => false;

function isAnswered(text: string): boolean {
  const end = text.indexOf('\r\n\r\n');
  if (end === -1) return false;
  const length = /^content-length: *(\d+)/im.exec(text.slice(0, end))?.[1];
  return length === undefined || text.length >= end + 4 + Number(length);
}
