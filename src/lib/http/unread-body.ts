import type { IncomingMessage, ServerResponse } from 'node:http';

/** Twice the largest body that is accepted: a client that sends too much can still read the answer that says so. */
const mostBytes = 64 * 1024 * 1024;
const longestMs = 30_000;
/** Each piece costs the parser about the same, whatever its size: a megabyte in pieces of one byte would cost a second. */
const tinyBytes = 256;
const mostTinyPieces = 4_000;

/**
 * For a request that is answered while its body is still arriving. Many clients read the answer only after they have sent
 * everything, and closing their connection meanwhile resets it, which can overtake the answer. So the rest is discarded as it
 * arrives, for half a minute or 64 MB at most, and less in tiny pieces; then the connection is cut.
 */
export function discardRest(request: IncomingMessage, response: ServerResponse): void {
  const { socket } = request;
  // A server that closes says so in the header alone.
  const isLast = !response.shouldKeepAlive || response.getHeader('connection') === 'close';
  // Node closes a connection that is not kept alive as soon as the answer is written; here it waits for the rest.
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
