/**
 * A server of Chat Completions and Messages whose answers are made ahead of time, for relayed and translated turns. The model's
 * name says how it answers: `chat-json`, `chat-burst`, `chat-paced`, `claude-json`. `node bench/model-upstream.ts`
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { listen } from './listening.ts';

const chunks = 200;
const everyMs = 5;
const head = { id: 'chatcmpl-bench', created: 1_790_000_000, model: 'bench', system_fingerprint: 'fp_bench' };
const token = (index: number) => `token-${String(index).padStart(4, '0')} `;

function event(delta: object, finish: string | null): string {
  const choices = [{ index: 0, delta, logprobs: null, finish_reason: finish }];
  return `data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices })}\n\n`;
}

const usage = { prompt_tokens: 400, completion_tokens: chunks, total_tokens: 400 + chunks };
const first = event({ role: 'assistant', content: '' }, null);
const pieces = Array.from({ length: chunks }, (_none, index) => event({ content: token(index) }, null));
const last = `${event({}, 'stop')}data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices: [], usage })}\n\ndata: [DONE]\n\n`;
const content = pieces.map((_piece, index) => token(index)).join('');
const message = { role: 'assistant', content };
const whole = Buffer.from(
  JSON.stringify({
    ...head,
    object: 'chat.completion',
    choices: [{ index: 0, message, logprobs: null, finish_reason: 'stop' }],
    usage,
  }),
);

const messageHead = { id: 'msg_bench', type: 'message', role: 'assistant', model: 'bench' };
const messageEnd = { stop_reason: 'end_turn', stop_sequence: null };
const messageUsage = { input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens };
const wholeMessage = Buffer.from(
  JSON.stringify({
    ...messageHead,
    content: [{ type: 'text', text: content }],
    ...messageEnd,
    usage: messageUsage,
  }),
);

/** The same for a gateway that asks for a stream whatever its client asked for: the text is one event, so that the turn is measured. */
const streamed = first + event({ content }, null) + last;
const streamedMessage = [
  {
    type: 'message_start',
    message: { ...messageHead, content: [], usage: { ...messageUsage, output_tokens: 1 } },
  },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: content } },
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: messageEnd, usage: messageUsage },
  { type: 'message_stop' },
]
  .map((one) => `event: ${one.type}\ndata: ${JSON.stringify(one)}\n\n`)
  .join('');

function answer(path: string, body: string, response: ServerResponse): void {
  const { model, stream } = JSON.parse(body) as { readonly model: string; readonly stream?: boolean };
  const isMessages = path.startsWith('/v1/messages');
  if (stream !== true) {
    const answered = isMessages ? wholeMessage : whole;
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': answered.length });
    response.end(answered);
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  if (model.endsWith('-json')) {
    response.end(isMessages ? streamedMessage : streamed);
    return;
  }
  if (model === 'chat-burst') {
    response.end(first + pieces.join('') + last);
    return;
  }
  response.write(first);
  let sent = 0;
  const timer = setInterval(() => {
    response.write(pieces[sent] ?? '');
    sent += 1;
    if (sent < chunks) return;
    clearInterval(timer);
    response.end(last);
  }, everyMs);
}

const server = createServer((request: IncomingMessage, response: ServerResponse) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => {
    const { method, url = '' } = request;
    if (method === 'POST') return answer(url, Buffer.concat(parts).toString(), response);
    const data = ['chat-json', 'chat-burst', 'chat-paced', 'claude-json'].map((id) => ({
      id,
      object: 'model',
    }));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ object: 'list', data }));
  });
  response.on('error', () => {});
});
listen(server, 'model upstream');
