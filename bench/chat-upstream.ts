/**
 * A server of Chat Completions whose answers are made ahead of time, for relayed turns. The model's name says how it
 * answers: `chat-json`, `chat-burst`, `chat-paced`. `node bench/chat-upstream.ts`
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

function answer(body: string, response: ServerResponse): void {
  const { model } = JSON.parse(body) as { readonly model: string };
  if (model === 'chat-json') {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': whole.length });
    response.end(whole);
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
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
    if (request.method === 'POST') return answer(Buffer.concat(parts).toString(), response);
    const data = ['chat-json', 'chat-burst', 'chat-paced'].map((id) => ({ id, object: 'model' }));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ object: 'list', data }));
  });
  response.on('error', () => {});
});
listen(server, 'chat upstream');
