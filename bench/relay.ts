/** A TCP relay: what it costs Node to pass bytes on without looking at them. `node bench/relay.ts UPSTREAM_URL` */
import net, { type Socket } from 'node:net';
import { listen } from './listening.ts';

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

listen(server, 'relay');
