import { plainTurn } from '../../core/testing/plain-turn.ts';
import 'oz-agent-sdk';
import type { ProviderHttp, RunningCall } from '../../core/provider.ts';
import type { Message, TurnEvent, TurnRequest } from '../../core/turn.ts';
import { createManualClock } from '../../gateway/testing/manual-clock.ts';
import { testContext } from '../testing/provider-context.ts';
import { createOzProvider } from './provider.ts';

interface Reply {
  readonly status?: number;
  readonly body?: unknown;
  /** Instead of JSON: what something on the way answers. */
  readonly page?: string;
  readonly headers?: Record<string, string>;
}

/** The vendor's API in the hand of a test: what is asked, and what is answered at the moment. */
function playOz() {
  const asked: {
    call: string;
    body: Record<string, unknown> | undefined;
    headers: Record<string, string>;
  }[] = [];
  const state = {
    begin: (): Reply => ({ body: { run_id: 'r1', task_id: 'r1', state: 'QUEUED' } }),
    run: { state: 'QUEUED' } as Record<string, unknown>,
    look: undefined as (() => Reply) | undefined,
    said: [] as string[],
    conversation: undefined as (() => Reply) | undefined,
    found: [] as string[],
    cancel: (): Reply => ({ body: 'r1' }),
  };
  const answer = (call: string): Reply => {
    if (call === 'POST /agent/runs') return state.begin();
    if (call.startsWith('GET /agent/runs?'))
      return { body: { runs: state.found.map((run_id) => ({ run_id })) } };
    if (call === 'GET /agent/runs/r1') return state.look?.() ?? { body: { run_id: 'r1', ...state.run } };
    if (call === 'POST /agent/runs/r1/cancel') return state.cancel();
    if (call === 'GET /agent/runs/r1/conversation') {
      const messages = state.said.map((text) => ({ role: 'assistant', content: [{ type: 'text', text }] }));
      return (
        state.conversation?.() ?? {
          body: { conversation_id: 'c', steps: [{ id: 's', messages, steps: [] }] },
        }
      );
    }
    throw new Error(`nobody expected ${call}`);
  };
  const http: ProviderHttp = async ({ method, url, headers, body }) => {
    const call = `${method} ${url.replace('http://127.0.0.1:9/api/v1', '')}`;
    asked.push({ call, body: body === undefined ? undefined : JSON.parse(body), headers: { ...headers } });
    const reply = answer(call);
    const { status = 200, page } = reply;
    const type =
      page !== undefined ? 'text/html' : status === 200 ? 'application/json' : 'application/problem+json';
    return {
      status,
      headers: { 'content-type': type, ...reply.headers },
      body: Buffer.from(page ?? JSON.stringify(reply.body)),
    };
  };
  return { http, asked, state, calls: () => asked.map(({ call }) => call.replace(/name=[^&]+/, 'name=…')) };
}

export const user = (text: string): Message => ({ role: 'user', parts: [{ type: 'text', text }] });

export function turn(more: Partial<TurnRequest> = {}): TurnRequest {
  return {
    ...plainTurn,
    messages: [user('Hello')],
    ...more,
  };
}

/** One run and its surroundings, time standing still. */
export function begin(request: TurnRequest = turn(), { isPaused = false } = {}) {
  const clock = createManualClock();
  const oz = playOz();
  const provider = createOzProvider(
    { ...testContext, http: oz.http, clock },
    {
      WARP_SERVER_URL: 'http://127.0.0.1:9',
      OZ_ENVIRONMENT_ID: 'env-1',
      OZ_RUN_TIMEOUT_SECONDS: 600,
    },
    () => 0.5,
  );
  const batches: TurnEvent[][] = [];
  const urls: string[] = [];
  let isClosed = false;
  const start = (): RunningCall =>
    provider.caller.start({
      request,
      account: { bearer: 'wk-1' },
      timeouts: { firstEventMs: 120_000, idleMs: 120_000 },
      now: clock.monotonic,
      listener: {
        onRunUrl: (url) => urls.push(url),
        onEvents(events) {
          batches.push([...events]);
          return !isPaused;
        },
        onClosed: () => {
          isClosed = true;
        },
      },
    });
  const text = () =>
    batches
      .flat()
      .map((event) => (event.type === 'text-delta' ? event.text : ''))
      .join('');
  const error = () => {
    const last = batches.flat().at(-1);
    return last?.type === 'error' ? last.error : undefined;
  };
  return { clock, oz, provider, start, batches, urls, text, error, isClosed: () => isClosed };
}
