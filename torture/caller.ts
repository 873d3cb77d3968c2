import { randomUUID } from 'node:crypto';
import { pause } from './instances.ts';
import type { Ledger } from './ledger.ts';

export interface CallerFigures {
  turns: number;
  /** Allocations the pool refused because too few were free. */
  refused: number;
  /** Calls that met a dead or restarting instance and were sent again. */
  repeated: number;
  /** Sessions left to expire on purpose. */
  abandoned: number;
  /** The longest one call took with all its repetitions, milliseconds. */
  longestMs: number;
  /** Answers no caller should see. */
  readonly faults: string[];
}

export interface CallerOptions {
  readonly urls: readonly string[];
  readonly ledger: Ledger;
  readonly figures: CallerFigures;
  readonly ttlSeconds: number;
  /** Whether a bearer is good at the upstream now. */
  isGood(bearer: string): boolean;
  isStopping(): boolean;
}

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

interface Granted {
  readonly id: string;
  readonly fence: number;
  readonly id_token: string;
  readonly token_version: number;
}

const giveUpAfterMs = 60_000;
const mostHeldMs = 1_500;

/** Borrows, uses, reports and gives back until told to stop; goes on through dead instances. */
export async function runCaller(options: CallerOptions): Promise<void> {
  const { ledger, figures } = options;
  while (!options.isStopping()) {
    const session = `torture-${randomUUID()}`;
    const accounts = await borrow(options, session);
    if (accounts === undefined) continue;
    figures.turns += 1;
    for (const account of accounts) {
      if (!options.isGood(account.id_token)) figures.faults.push(`${account.id} was lent with a dead bearer`);
    }
    await pause(Math.random() * mostHeldMs);
    await report(options, session, accounts);
    if (options.isStopping() || Math.random() < 0.05) {
      figures.abandoned += 1;
      continue;
    }
    ledger.releasing(session);
    const released = await call(options, 'release', { session_id: session });
    // 404: the first try had done it before its instance died.
    if (released.status !== 200 && released.status !== 404) fault(options, 'release', released);
  }
}

async function borrow(options: CallerOptions, session: string): Promise<readonly Granted[] | undefined> {
  const { ledger, figures } = options;
  const answer = await call(options, 'allocate', {
    session_id: session,
    count: Math.random() < 0.8 ? 1 : 3,
    ttl_seconds: options.ttlSeconds,
    wait_ms: 2_000,
  });
  if (answer.status === 503) {
    figures.refused += 1;
    await pause(100);
    return undefined;
  }
  if (answer.status !== 200) {
    fault(options, 'allocate', answer);
    return undefined;
  }
  const accounts = answer.body['accounts'] as readonly Granted[];
  const until = Date.parse(String(answer.body['expires_at']));
  for (const { id, fence } of accounts) ledger.granted(session, id, fence, until);
  return accounts;
}

async function report(options: CallerOptions, session: string, accounts: readonly Granted[]): Promise<void> {
  const answer = await call(options, 'report', {
    session_id: session,
    reports: accounts.map((account) => ({
      report_id: randomUUID(),
      account_id: account.id,
      fence: account.fence,
      token_version: account.token_version,
      outcome: 'success',
      at: new Date().toISOString(),
      usage: { input_tokens: 10, output_tokens: 5 },
    })),
  });
  if (answer.status !== 200) fault(options, 'report', answer);
}

/** Sends a call until an instance answers; each try goes to another one. */
async function call(options: CallerOptions, verb: string, body: unknown): Promise<Answer> {
  const { urls, figures } = options;
  const startedAt = Date.now();
  let next = Math.floor(Math.random() * urls.length);
  for (;;) {
    try {
      const response = await fetch(`${urls[next % urls.length]}/api/accounts/${verb}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(20_000),
      });
      const answer = { status: response.status, body: (await response.json()) as Record<string, unknown> };
      if (!isPassing(answer)) {
        figures.longestMs = Math.max(figures.longestMs, Date.now() - startedAt);
        return answer;
      }
    } catch (error) {
      if (Date.now() - startedAt > giveUpAfterMs) throw error;
    }
    if (Date.now() - startedAt > giveUpAfterMs) throw new Error(`no instance answered ${verb} in time`);
    figures.repeated += 1;
    next += 1;
    await pause(50 + Math.random() * 100);
  }
}

/** The instance says itself that another try is in place: it is stopping, or its database is away. */
function isPassing({ status, body }: Answer): boolean {
  const { code } = (body['error'] ?? {}) as { readonly code?: string };
  return status === 503 && code !== 'no_account_available';
}

function fault({ figures }: CallerOptions, verb: string, { status, body }: Answer): void {
  figures.faults.push(`${verb} was answered ${status}: ${JSON.stringify(body).slice(0, 200)}`);
}
