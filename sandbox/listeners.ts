// The ports of a sandbox: plain http, TLS with h2, or both. They may be closed for a while and opened again.
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import type { Certificate } from './certificate.ts';
import { Connections } from './connections.ts';

export type Handler = (request: http.IncomingMessage, response: http.ServerResponse) => void;

export interface ListenOptions {
  readonly host: string;
  readonly ports: { readonly plain?: number; readonly secure?: number };
  readonly certificate: Certificate | undefined;
  readonly alpn: 'h2' | 'http/1.1' | 'h2,http/1.1';
  readonly maxConcurrentStreams: number | undefined;
}

interface Listener {
  readonly server: net.Server;
  readonly scheme: 'http' | 'https';
  port: number;
}

export class Listeners {
  readonly connections = new Connections();
  readonly #listeners: Listener[] = [];
  readonly #host: string;

  constructor({ host, ports, certificate, alpn, maxConcurrentStreams }: ListenOptions, handler: Handler) {
    this.#host = host;
    if (ports.plain !== undefined) {
      this.#add({ server: keeping(http.createServer(handler)), scheme: 'http', port: ports.plain });
    }
    if (ports.secure !== undefined && certificate) {
      const identity = { cert: certificate.certificate, key: certificate.key };
      const settings = maxConcurrentStreams === undefined ? {} : { settings: { maxConcurrentStreams } };
      const server =
        alpn === 'http/1.1'
          ? keeping(https.createServer(identity, handler))
          : http2Server({ ...identity, ...settings, allowHTTP1: alpn !== 'h2' }, handler);
      this.#add({ server, scheme: 'https', port: ports.secure });
    }
  }

  /** Rejects with the server's own error, such as EADDRINUSE. After `stop` the ports are the same. */
  async start(): Promise<void> {
    for (const listener of this.#listeners) {
      if (!listener.server.listening) listener.port = await listen(listener, this.#host);
    }
  }

  /** Closes the ports and every connection; new ones are refused. */
  async stop(): Promise<void> {
    const closed = this.#listeners
      .filter(({ server }) => server.listening)
      .map(({ server }) => new Promise((resolve) => server.close(resolve)));
    for (const connection of this.connections.open) connection.destroy();
    await Promise.all(closed);
  }

  portOf(scheme: 'http' | 'https'): number | undefined {
    return this.#listeners.find((listener) => listener.scheme === scheme)?.port;
  }

  urlOf(scheme: 'http' | 'https'): string | undefined {
    const port = this.portOf(scheme);
    if (port === undefined) return undefined;
    return `${scheme}://${net.isIPv6(this.#host) ? `[${this.#host}]` : this.#host}:${port}`;
  }

  #add(listener: Listener): void {
    listener.server.on('connection', (socket: net.Socket) => {
      this.connections.add(socket, listener.scheme === 'https');
    });
    this.#listeners.push(listener);
  }
}

/** Idle connections are kept for longer than any client keeps them, so that none is reused while it closes. */
function keeping<Server extends http.Server | https.Server>(server: Server): Server {
  server.keepAliveTimeout = 120_000;
  return server;
}

function http2Server(options: http2.SecureServerOptions, handler: Handler): http2.Http2SecureServer {
  const server = http2.createSecureServer(
    options,
    // Node's compatible API: what the sandbox uses of a request and a response is the same in both versions.
    handler as unknown as (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void,
  );
  // A client that breaks a session or a stream is no fault of the sandbox.
  server.on('sessionError', () => undefined);
  return server;
}

function listen({ server, port }: Listener, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}
