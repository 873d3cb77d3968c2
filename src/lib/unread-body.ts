import type { IncomingMessage, ServerResponse } from 'node:http';

/** Twice the largest body that is taken: who sends too much still gets to read that it is. */
const mostBytes = 64 * 1024 * 1024;
const longestMs = 30_000;
/** Each piece costs the parser about as much as any other: a megabyte of them, a byte each, would cost a second. */
const tinyBytes = 256;
const mostTinyPieces = 4_000;

/**
 * For a request that is answered although its body is still on its way. Many clients read the answer only once they have sent
 * everything, and closing a connection they are sending on resets it, which can overtake the answer. So what comes is thrown
 * away as it arrives, unparsed, for half a minute or some megabytes at most; then the connection is cut, and sooner where it comes in
 * tiny pieces.
 */
export function discardRest(request: IncomingMessage, response: ServerResponse): void {
  const { socket } = request;
  const isLast = !response.shouldKeepAlive;
  // Node closes a connection that shall not be kept as soon as the answer has been written.
  if (isLast) socket.destroySoon = () => {};
  let bytesLeft = mostBytes;
  let tinyLeft = mostTinyPieces;
  request.on('data', ({ length }: Buffer) => {
    bytesLeft -= length;
    if (length < tinyBytes) tinyLeft -= 1;
    if (bytesLeft < 0 || tinyLeft < 0) socket.destroy();
  });
  const timer = setTimeout(() => socket.destroy(), longestMs).unref();
  request.once('close', () => {
    clearTimeout(timer);
    if (!isLast) return;
    Reflect.deleteProperty(socket, 'destroySoon');
    socket.destroySoon();
  });
}
