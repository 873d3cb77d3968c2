import {
  createSecureServer,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type SecureServerOptions,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Certificate } from './certificate.ts';

export interface H2Call {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A server over TLS and HTTP/2 whose answers a test writes by hand. */
export interface H2Server {
  readonly url: string;
  readonly port: number;
  readonly server: Http2SecureServer;
  readonly sessions: ServerHttp2Session[];
  readonly calls: H2Call[];
  answer: (call: H2Call, index: number) => void;
  close(): Promise<void>;
}

export async function startH2Server(
  certificate: Certificate,
  options: SecureServerOptions = {},
): Promise<H2Server> {
  const sessions: ServerHttp2Session[] = [];
  const calls: H2Call[] = [];
  const server = createSecureServer({ ...certificate, ...options });
  server.on('session', (session) => {
    sessions.push(session);
    session.on('error', () => {});
  });
  server.on('stream', (given, headers) => {
    const stream = given as ServerHttp2Stream;
    stream.on('error', () => {});
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      const call = { stream, headers, body: Buffer.concat(chunks) };
      calls.push(call);
      h2.answer(call, calls.length - 1);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const h2: H2Server = {
    url: `https://127.0.0.1:${port}`,
    port,
    server,
    sessions,
    calls,
    answer: ({ stream }) => {
      stream.respond({ ':status': 200 });
      stream.end('whole');
    },
    async close() {
      for (const session of sessions) session.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return h2;
}
