/**
 * The least a relay that looks at what it passes on can cost in Node: node:http and undici, each JSON text parsed and
 * written again, one write for each read, and nothing else. `node bench/json-floor.ts UPSTREAM_URL`
 */
import { createServer, type ServerResponse } from 'node:http';
import { Agent, type Dispatcher } from 'undici';
import { listen } from './listening.ts';

const upstream = new URL(process.argv[2] ?? '');
const agent = new Agent({ connections: null, pipelining: 1 });
const again = (text: string): string => JSON.stringify(JSON.parse(text));

function relay(path: string, body: string, response: ServerResponse): void {
  let isStream = false;
  let rest = '';
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart() {},
    onResponseStart(_controller, status, headers) {
      const type = String(headers['content-type']);
      isStream = type.startsWith('text/event-stream');
      response.writeHead(status, { 'content-type': type });
    },
    onResponseData(_controller, chunk) {
      rest += chunk.toString();
      if (!isStream) return;
      const events = rest.split('\n\n');
      rest = events.pop() ?? '';
      const text = events.map((event) => {
        const data = event.slice('data: '.length);
        return `data: ${data === '[DONE]' ? data : again(data)}\n\n`;
      });
      response.write(text.join(''));
    },
    onResponseEnd: () => void response.end(isStream ? rest : again(rest)),
    onResponseError: () => void response.destroy(),
  };
  agent.dispatch(
    {
      origin: upstream.origin,
      path,
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer sk-floor' },
      body: again(body),
    },
    handler,
  );
}

const server = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => relay(request.url ?? '', Buffer.concat(parts).toString(), response));
  response.on('error', () => {});
});
listen(server, 'JSON floor');
