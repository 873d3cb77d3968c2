import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Certificate } from './certificate.ts';

/** An HTTP proxy on this machine that remembers what it was asked. */
export interface ConnectProxy {
  readonly url: string;
  /** Targets of tunnels, and the addresses of forwarded requests. */
  readonly asked: { readonly target: string; readonly authorization: string | undefined }[];
  /** Where a tunnel leads instead of its target, by host and port. */
  readonly routes: Map<string, number>;
  /** Where a forwarded request leads instead of its host. */
  readonly forwards: Map<string, number>;
  /** The status that refuses tunnels; undefined lets them pass. */
  refusal: number | undefined;
  close(): Promise<void>;
}

export async function startConnectProxy(certificate?: Certificate): Promise<ConnectProxy> {
  const asked: ConnectProxy['asked'] = [];
  const routes = new Map<string, number>();
  const forwards = new Map<string, number>();
  const open = new Set<Socket>();
  const note = ({ headers }: IncomingMessage, target: string): void => {
    asked.push({ target, authorization: headers['proxy-authorization'] });
  };
  const server = certificate ? createTlsServer(certificate) : createServer();
  server.on('request', (incoming: IncomingMessage, response) => {
    note(incoming, incoming.url ?? '');
    const { host, pathname, search } = new URL(incoming.url ?? '');
    const { 'proxy-authorization': _ours, ...headers } = incoming.headers;
    const options = {
      port: forwards.get(host),
      path: `${pathname}${search}`,
      method: incoming.method,
      headers,
    };
    const forwarded = httpRequest({ host: '127.0.0.1', ...options }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    incoming.pipe(forwarded);
  });
  server.on('connect', (incoming: IncomingMessage, socket: Socket) => {
    const target = incoming.url ?? '';
    note(incoming, target);
    socket.on('error', () => socket.destroy());
    if (proxy.refusal !== undefined) {
      socket.end(`HTTP/1.1 ${proxy.refusal} No\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(target) ?? [];
    const way = connect(routes.get(target) ?? Number(port), routes.has(target) ? '127.0.0.1' : host);
    way.on('error', () => socket.destroy());
    socket.once('close', () => way.destroy());
    way.once('connect', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      way.pipe(socket).pipe(way);
    });
  });
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const proxy: ConnectProxy = {
    url: `${certificate ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    routes,
    forwards,
    refusal: undefined,
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}
