import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Requests of one connection that may wait for their turn. Clients that pipeline at all send a handful; without a bound a few
 * kilobytes of tiny requests keep the process busy for seconds.
 */
const mostWaiting = 32;

const awaitsContinue = new WeakSet<IncomingMessage>();
/** To the request that a connection's server was given last, until both have ended. */
const lastResponse = new WeakMap<Socket, ServerResponse>();

/**
 * Lets requests reach the server's listener one after another for each connection, and each in another turn of the event loop,
 * so that other connections have theirs between. A client that asks first whether to send its body (`Expect: 100-continue`)
 * waits for `takeBody`.
 */
export function gateRequests(server: Server): void {
  const [serve] = server.listeners('request') as RequestListener[];
  if (serve === undefined) throw new Error('The server has no listener for requests yet.');
  const waiting = new WeakMap<Socket, number>();
  const servedInTurn = new WeakMap<Socket, number>();
  let turn = 0;
  let isTurnEnding = false;

  function serveNow(request: IncomingMessage, response: ServerResponse): void {
    servedInTurn.set(request.socket, turn);
    note(request.socket, response);
    if (!isTurnEnding) {
      isTurnEnding = true;
      setImmediate(endTurn);
    }
    serve?.(request, response);
  }

  function endTurn(): void {
    isTurnEnding = false;
    turn += 1;
  }

  function enter(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    // Node gives a response its socket when those before it have ended.
    const isNext = response.socket !== null;
    if (isNext && servedInTurn.get(socket) !== turn) {
      serveNow(request, response);
      return;
    }
    if (socket.destroyed) return;
    const count = (waiting.get(socket) ?? 0) + 1;
    waiting.set(socket, count);
    if (count > mostWaiting) {
      socket.destroy();
      return;
    }
    const serveLater = (): void => {
      setImmediate(() => {
        waiting.set(socket, (waiting.get(socket) ?? 1) - 1);
        if (!socket.destroyed) serveNow(request, response);
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

function note(socket: Socket, response: ServerResponse): void {
  lastResponse.set(socket, response);
  response.once('close', () => {
    // It holds all of its request, which a connection that waits for the next one must not keep.
    if (response.req.complete && lastResponse.get(socket) === response) lastResponse.delete(socket);
  });
}

/** To be called when a body is about to be read: a client that asked first (`Expect: 100-continue`) gets its 100 now. */
export function takeBody(request: IncomingMessage, response: ServerResponse): void {
  if (request.headers.expect !== undefined && awaitsContinue.delete(request)) response.writeContinue();
}

/** Whether a connection has part of an answer, or all of one whose request is still on its way, so that nothing may follow. */
export function isAnswering(socket: Socket): boolean {
  const response = lastResponse.get(socket);
  return response?.headersSent === true && !(response.writableFinished && response.req.complete);
}
