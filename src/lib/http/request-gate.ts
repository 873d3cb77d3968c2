import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Requests of one connection that may wait for their turn. Clients that pipeline at all send a handful; without a bound a few
 * kilobytes of tiny requests keep the process busy for seconds.
 */
const mostWaiting = 32;

const awaitsContinue = new WeakSet<IncomingMessage>();

/** What is known of a connection. */
interface Served {
  /** How much of it had been read when its last request was served. */
  bytesRead: number;
  /** How many of its requests wait for their turn. */
  waiting: number;
  /** To the request that its server was given last, until both have ended. */
  response: ServerResponse | undefined;
}

const served = new WeakMap<Socket, Served>();

function servedOn(socket: Socket): Served {
  const known = served.get(socket);
  if (known) return known;
  const connection = { bytesRead: -1, waiting: 0, response: undefined };
  served.set(socket, connection);
  return connection;
}

/**
 * Lets requests reach the server's listener one after another for each connection, and those that were read together each in
 * another turn of the event loop, so that other connections have theirs between. A client that asks first whether to send its
 * body (`Expect: 100-continue`) waits for `takeBody`.
 */
export function gateRequests(server: Server): void {
  const [serve] = server.listeners('request') as RequestListener[];
  if (serve === undefined) throw new Error('The server has no listener for requests yet.');

  function serveNow(connection: Served, request: IncomingMessage, response: ServerResponse): void {
    connection.bytesRead = request.socket.bytesRead;
    connection.response = response;
    response.on('close', forget);
    // A reader that breaks off mid-write ends its own answer, not the process.
    response.on('error', ignore);
    serve?.(request, response);
  }

  function enter(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const connection = servedOn(socket);
    // Node gives a response its socket when those before it have ended.
    const isNext = response.socket !== null;
    if (isNext && connection.bytesRead !== socket.bytesRead) {
      serveNow(connection, request, response);
      return;
    }
    if (socket.destroyed) return;
    connection.waiting += 1;
    if (connection.waiting > mostWaiting) {
      socket.destroy();
      return;
    }
    const serveLater = (): void => {
      setImmediate(() => {
        connection.waiting -= 1;
        if (!socket.destroyed) serveNow(connection, request, response);
      });
    };
    if (isNext) serveLater();
    else response.once('socket', serveLater);
  }

  server.removeListener('request', serve);
  server.on('request', enter);
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    awaitsContinue.add(request);
    enter(request, response);
  });
  // Node answers an Expect it does not know with a bare 417; it may be passed over.
  server.on('checkExpectation', enter);
}

function ignore(): void {}

/** A response holds all of its request, which a connection that waits for the next one must not keep. */
function forget(this: ServerResponse): void {
  const connection = served.get(this.req.socket);
  if (connection?.response === this && this.req.complete) connection.response = undefined;
}

/** To the last request of a connection, until both have ended. */
export function lastResponse(socket: Socket): ServerResponse | undefined {
  return served.get(socket)?.response;
}

/** To be called when a body is about to be read: a client that asked first (`Expect: 100-continue`) gets its 100 now. */
export function takeBody(request: IncomingMessage, response: ServerResponse): void {
  if (request.headers.expect !== undefined && awaitsContinue.delete(request)) response.writeContinue();
}

/** Whether a connection has part of an answer, or all of one whose request is still on its way, so that nothing may follow. */
export function isAnswering(socket: Socket): boolean {
  const response = lastResponse(socket);
  return response?.headersSent === true && !(response.writableFinished && response.req.complete);
}
