// What a careful client makes of an answer: whole, or some kind of failure. A truncated answer must never be whole.
import type { Protocol } from './upstreams.ts';

export interface Judged {
  /** `broken`: the connection or the stream ended without an end mark. */
  readonly end: 'whole' | 'filtered' | 'refused' | 'error' | 'broken';
  readonly text: string;
  /** Of an answer that was refused before it began. */
  readonly status: number;
  readonly usage?: Fields | undefined;
  /** The provider's model that answered. */
  readonly model: string | null;
  readonly body: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** The user says `text`; the model is named in the path or the body, as the dialect has it. */
export function questionTo(dialect: Protocol, model: string, isStream: boolean, text = 'Hi') {
  const stream = isStream ? { stream: true } : {};
  const said = { role: 'user', content: text };
  switch (dialect) {
    case 'chat': {
      const usage = isStream ? { stream_options: { include_usage: true } } : {};
      return { path: '/v1/chat/completions', body: { model, messages: [said], ...stream, ...usage } };
    }
    case 'responses':
      return { path: '/v1/responses', body: { model, input: [said], store: false, ...stream } };
    case 'messages':
      return { path: '/v1/messages', body: { model, max_tokens: 1_000, messages: [said], ...stream } };
    case 'gemini': {
      const call = isStream ? 'streamGenerateContent?alt=sse' : 'generateContent';
      return {
        path: `/v1beta/models/${model}:${call}`,
        body: { contents: [{ role: 'user', parts: [{ text }] }] },
      };
    }
  }
}

export async function judge(dialect: Protocol, answer: Response): Promise<Judged> {
  const model = answer.headers.get('x-warp2api-model');
  const known = { status: answer.status, model };
  const parts: string[] = [];
  let isBroken = false;
  try {
    const decoder = new TextDecoder();
    for await (const part of answer.body as unknown as AsyncIterable<Uint8Array>) {
      parts.push(decoder.decode(part, { stream: true }));
    }
  } catch {
    isBroken = true;
  }
  const body = parts.join('');
  if (!answer.ok) return { ...known, end: 'refused', text: '', body };
  const isStream = answer.headers.get('content-type')?.startsWith('text/event-stream');
  const values = isStream ? eventsIn(body) : valuesIn(body);
  if (values === undefined) return { ...known, end: 'broken', text: '', body };
  const { text, end, usage } = readers[dialect](values);
  return { ...known, end: isBroken && end !== 'error' ? 'broken' : (end ?? 'broken'), text, usage, body };
}

function valuesIn(body: string): Fields[] | undefined {
  try {
    return [JSON.parse(body) as Fields];
  } catch {
    return undefined;
  }
}

/** Undefined where one of them is no JSON. */
function eventsIn(body: string): Fields[] | undefined {
  const data = body
    .split(/\r?\n\r?\n/)
    .slice(0, -1)
    .flatMap((block) => block.split(/\r?\n/).filter((line) => line.startsWith('data:')))
    .map((line) => line.slice('data:'.length).trim());
  try {
    return data.map((one) => (one === '[DONE]' ? { done: true } : (JSON.parse(one) as Fields)));
  } catch {
    return undefined;
  }
}

interface ReadAnswer {
  text: string;
  end?: Judged['end'];
  usage?: Fields;
}

/** Events, or one whole body, of each dialect: their forms overlap so far that one reader takes both. */
const readers: Readonly<Record<Protocol, (values: readonly Fields[]) => ReadAnswer>> = {
  chat(values) {
    const read: ReadAnswer = { text: '' };
    for (const value of values) {
      if ('error' in value) return { ...read, end: 'error' };
      const [choice] = (value['choices'] ?? []) as {
        delta?: { content?: string | null };
        message?: { content?: string | null };
        finish_reason?: string | null;
      }[];
      read.text += choice?.delta?.content ?? choice?.message?.content ?? '';
      if (choice?.finish_reason) read.end = choice.finish_reason === 'content_filter' ? 'filtered' : 'whole';
      if (value['usage']) read.usage = value['usage'] as Fields;
    }
    return read;
  },

  responses(values) {
    const read: ReadAnswer = { text: '' };
    for (const value of values) {
      const type = value['type'];
      if (type === 'error' || type === 'response.failed') return { ...read, end: 'error' };
      if (type === 'response.output_text.delta') read.text += String(value['delta']);
      const isEnd = type === 'response.completed' || type === 'response.incomplete';
      if (!isEnd && value['object'] !== 'response') continue;
      const response = (isEnd ? value['response'] : value) as {
        status: string;
        output: { content?: { text?: string }[] }[];
        usage: Fields;
        incomplete_details?: { reason: string } | null;
      };
      const text = response.output.flatMap(({ content = [] }) => content.map((part) => part.text ?? ''));
      if (!isEnd) read.text = text.join('');
      else if (text.join('') !== read.text) return { ...read, end: 'broken' };
      read.usage = response.usage;
      const isFiltered = response.incomplete_details?.reason === 'content_filter';
      read.end = isFiltered ? 'filtered' : response.status === 'failed' ? 'error' : 'whole';
    }
    return read;
  },

  messages(values) {
    const read: ReadAnswer = { text: '' };
    let reason: unknown;
    for (const value of values) {
      const type = value['type'];
      if (type === 'error') return { ...read, end: 'error' };
      if (type === 'message') {
        const content = value['content'] as { text?: string }[];
        read.text = content.map(({ text = '' }) => text).join('');
        reason = value['stop_reason'];
        read.usage = value['usage'] as Fields;
      }
      if (type === 'content_block_delta') read.text += (value['delta'] as { text?: string }).text ?? '';
      if (type === 'message_start') read.usage = (value['message'] as { usage: Fields }).usage;
      if (type === 'message_delta') {
        reason = (value['delta'] as { stop_reason: unknown }).stop_reason;
        read.usage = { ...read.usage, ...(value['usage'] as Fields) };
      }
      const isEnd = type === 'message_stop' || type === 'message';
      if (isEnd && reason) read.end = reason === 'refusal' ? 'filtered' : 'whole';
    }
    return read;
  },

  gemini(values) {
    const read: ReadAnswer = { text: '' };
    for (const value of values) {
      if ('error' in value) return { ...read, end: 'error' };
      const [candidate] = (value['candidates'] ?? []) as {
        content?: { parts?: { text?: string; thought?: boolean }[] };
        finishReason?: string;
      }[];
      for (const { text = '', thought } of candidate?.content?.parts ?? []) if (!thought) read.text += text;
      if (value['usageMetadata']) read.usage = value['usageMetadata'] as Fields;
      const reason = candidate?.finishReason;
      const isBlocked = (value['promptFeedback'] as { blockReason?: string } | undefined)?.blockReason;
      if (reason) read.end = ['STOP', 'MAX_TOKENS'].includes(reason) ? 'whole' : 'filtered';
      if (isBlocked) read.end = 'filtered';
    }
    return read;
  },
};
