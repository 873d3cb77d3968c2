import { EventSourceParserStream } from 'eventsource-parser/stream';
import { ApiError } from '../../api.ts';
import type { Dialect } from './ask-box.tsx';

/** A turn as a client would send it: streamed, with the client's own key and no cookie. */

export interface TrialTurn {
  readonly dialect: Dialect;
  readonly model: string;
  readonly prompt: string;
  readonly key: string;
}

export interface TrialHead {
  readonly requestId: string;
  /** `x-warp2api-route`. */
  readonly route: string;
}

export interface TrialListener {
  onHead(head: TrialHead): void;
  onText(text: string): void;
  onReasoning(text: string): void;
}

/** Resolves at the end of the answer. Throws ApiError, also for one in the middle of the stream. */
export async function tryTurn(turn: TrialTurn, listener: TrialListener, abort: AbortSignal): Promise<void> {
  const { path, body } = requestOf(turn);
  const headers = new Headers({ 'content-type': 'application/json' });
  if (turn.key !== '') headers.set('authorization', `Bearer ${turn.key}`);
  if (turn.dialect === 'messages') headers.set('anthropic-version', '2023-06-01');
  let answer: Response;
  try {
    answer = await fetch(path, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
      credentials: 'omit',
      cache: 'no-store',
      signal: abort,
    });
  } catch (error) {
    if (abort.aborted) throw error;
    throw new ApiError(0, 'unreachable', 'The service does not answer.');
  }
  const requestId = answer.headers.get('x-request-id') ?? '';
  listener.onHead({ requestId, route: answer.headers.get('x-warp2api-route') ?? '' });
  if (!answer.ok || !answer.body) throw faultIn(await answer.text(), answer.status, answer.headers);
  const events = answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  for await (const { data } of events) {
    if (data === '[DONE]') continue;
    const event = JSON.parse(data) as StreamEvent;
    if (event.error || event.type === 'error' || event.type === 'response.failed')
      throw faultIn(data, answer.status, answer.headers);
    const { text, reasoning } = piecesOf(turn.dialect, event);
    if (text) listener.onText(text);
    if (reasoning) listener.onReasoning(reasoning);
  }
}

function requestOf({ dialect, model, prompt }: TrialTurn): { readonly path: string; readonly body: object } {
  const messages = [{ role: 'user', content: prompt }];
  switch (dialect) {
    case 'chat':
      return { path: '/v1/chat/completions', body: { model, messages, stream: true } };
    case 'responses':
      return { path: '/v1/responses', body: { model, input: prompt, stream: true, store: false } };
    case 'messages':
      return { path: '/v1/messages', body: { model, messages, max_tokens: 4096, stream: true } };
    case 'gemini': {
      // Its path names the model, slashes as they are.
      const name = encodeURIComponent(model).replaceAll('%2F', '/');
      return {
        path: `/v1beta/models/${name}:streamGenerateContent?alt=sse`,
        body: { contents: [{ role: 'user', parts: [{ text: prompt }] }] },
      };
    }
  }
}

/** What is read here of the events of all dialects. */
interface StreamEvent {
  readonly error?: unknown;
  readonly type?: string;
  readonly choices?: readonly {
    readonly delta?: { readonly content?: string; readonly reasoning_content?: string };
  }[];
  readonly delta?: string | { readonly type?: string; readonly text?: string; readonly thinking?: string };
  readonly candidates?: readonly {
    readonly content?: { readonly parts?: readonly { readonly text?: string; readonly thought?: boolean }[] };
  }[];
}

interface Pieces {
  readonly text?: string | undefined;
  readonly reasoning?: string | undefined;
}

function piecesOf(dialect: Dialect, event: StreamEvent): Pieces {
  const { delta } = event;
  switch (dialect) {
    case 'chat': {
      const choice = event.choices?.[0]?.delta;
      return { text: choice?.content, reasoning: choice?.reasoning_content };
    }
    case 'responses':
      if (typeof delta !== 'string') return {};
      if (event.type === 'response.output_text.delta') return { text: delta };
      return event.type?.startsWith('response.reasoning') ? { reasoning: delta } : {};
    case 'messages':
      return typeof delta === 'object' ? { text: delta.text, reasoning: delta.thinking } : {};
    case 'gemini': {
      const parts = event.candidates?.[0]?.content?.parts ?? [];
      const joined = (isThought: boolean) =>
        parts.map(({ text = '', thought = false }) => (thought === isThought ? text : '')).join('');
      return { text: joined(false), reasoning: joined(true) };
    }
  }
}

function faultIn(text: string, status: number, headers: Headers): ApiError {
  try {
    const said = JSON.parse(text) as {
      error?: { code?: unknown; type?: string; status?: string; message?: string };
      response?: { error?: { code?: string; message?: string } };
      message?: string;
      code?: string;
    };
    const error = said.error ?? said.response?.error ?? said;
    const { code, message } = error as { code?: unknown; message?: string };
    const word = typeof code === 'string' ? code : (said.error?.type ?? said.error?.status) || 'error';
    return new ApiError(status, word, message ?? text, { headers });
  } catch {
    return new ApiError(status, 'error', `HTTP ${status}`, { headers });
  }
}
