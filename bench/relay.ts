/** A TCP relay: what it costs Node to pass bytes on without looking at them. `node bench/relay.ts UPSTREAM_URL` */
import net, { type Socket } from 'node:net';

const upstream = new URL(process.argv[2] ?? '');

const server = net.createServer({ noDelay: true }, (client) => {
  const far = net.connect({ host: upstream.hostname, port: Number(upstream.port), noDelay: true });
  pass(client, far);
  pass(far, client);
});

function pass(from: Socket, to: Socket): void {
  from.on('data', (bytes) => {
    if (!to.write(bytes)) from.pause();
  });
  to.on('drain', () => from.resume());
  from.on('error', () => {});
  from.on('close', () => to.destroy());
}

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  console.log(JSON.stringify({ url: `http://127.0.0.1:${port}`, msg: 'the relay listens' }));
});
process.on('SIGTERM', () => process.exit());
