// What tests ask a sandbox about afterwards.
import type { IncomingHttpHeaders } from 'node:http';
import type { ToolResult } from './answer.ts';

/** One chat request, whether it was answered or refused. */
export interface SandboxTurn {
  readonly at: Date;
  readonly bearer: string;
  /** Whose it is: the key itself, or the id of the account a token was minted for; empty when it was not good. */
  readonly account: string;
  model: string;
  /** The scenario's name; empty when the request was refused before one was chosen. */
  scenario: string;
  /** The conversation it continued or began; empty when it was refused. */
  conversationId: string;
  /** The user text; like each text below it is cut after 100,000 characters. */
  query: string;
  toolResults: readonly ToolResult[];
  toolNames: readonly string[];
  /** Tasks echoed. */
  taskCount: number;
  /** Contents of the active project rules, where system prompts travel. */
  projectRules: readonly string[];
  imageCount: number;
  readonly userAgent: string | undefined;
  /** The team it is to be billed to: the header `X-Warp-Active-Team-UID`. */
  readonly teamUid: string | undefined;
  readonly headers: IncomingHttpHeaders;
  /** `1.1` or `2.0`. */
  readonly httpVersion: string;
  /** Of the connection it came on, in `transport.connections`. */
  readonly connectionId: number;
  /** The HTTP status sent; 0 while none was. */
  status: number;
  /** The client went away before the scenario was over. */
  cancelled: boolean;
  /** StreamFinished was sent, whatever its reason. */
  finished: boolean;
  /** ResponseEvents written. */
  eventsSent: number;
  problems: readonly string[];
}

export interface SandboxOperation {
  readonly at: Date;
  readonly operationName: string;
  readonly bearer: string;
  readonly teamUid: string | undefined;
}

export interface SandboxCounts {
  /** Chat requests since the start, also those no longer in `turns`. */
  turns: number;
  /** Those whose response is not over. */
  open: number;
  finished: number;
  cancelled: number;
  /** Refused with a status of 400 or more. */
  refused: number;
  withProblems: number;
  operations: number;
}

const kept = 1_000;

export function teamOf(headers: IncomingHttpHeaders): string | undefined {
  const team = headers['x-warp-active-team-uid'];
  return typeof team === 'string' ? team : undefined;
}

/** Adds to a list and drops its first entries beyond the last 1,000. */
export function remember<Entry>(entries: Entry[], entry: Entry): void {
  entries.push(entry);
  if (entries.length > kept) entries.splice(0, entries.length - kept);
}

export function emptyCounts(): SandboxCounts {
  return { turns: 0, open: 0, finished: 0, cancelled: 0, refused: 0, withProblems: 0, operations: 0 };
}
