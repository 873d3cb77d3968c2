import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface WatchedGateway {
  readonly url: string;
  /** Connections that went over to WebSocket so far: a client may fall back to HTTP without a word. */
  socketCount(): number;
  /** Requests with a compressed body so far. */
  compressedCount(): number;
  close(): void;
}

/** Passes bytes on to the gateway and looks at how each connection begins to be answered. */
export async function watchGateway(gatewayUrl: string): Promise<WatchedGateway> {
  const { hostname, port } = new URL(gatewayUrl);
  const open = new Set<Socket>();
  let count = 0;
  let compressed = 0;
  const server = createServer((client) => {
    const gateway = connect(Number(port), hostname);
    for (const socket of [client, gateway]) {
      open.add(socket);
      // Each end may break off as it likes: that is what the other one is then told.
      socket.on('error', () => {});
      socket.on('close', () => {
        open.delete(socket);
        (socket === client ? gateway : client).destroy();
      });
    }
    gateway.on('data', (chunk: Buffer) => {
      if (chunk.subarray(0, 12).equals(Buffer.from('HTTP/1.1 101'))) count += 1;
    });
    client.on('data', (chunk: Buffer) => {
      if (/^content-encoding: *\w/im.test(chunk.toString('latin1', 0, 8_192))) compressed += 1;
    });
    client.pipe(gateway);
    gateway.pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    socketCount: () => count,
    compressedCount: () => compressed,
    close() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}
