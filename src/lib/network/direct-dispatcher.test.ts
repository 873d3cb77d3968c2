import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished, vi } from 'vitest';
import { systemClock } from '../clock.ts';
import { createDirectDispatcher, OriginPool } from './network.ts';
import { send } from './testing/send.ts';

it.each([
  ['has answered', 'known.test', '/', undefined],
  ['has broken off', 'known.test', '/cut', 'ConnectionLostError'],
  ['has no address', 'unknown.test', '/', 'UnsentError'],
])('keeps nothing of an origin that %s', async (_what, name, path, fault) => {
  const server = createServer((request, response) => {
    if (request.url === '/cut') request.socket.destroy();
    else response.end('whole');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const dispatcher = createDirectDispatcher(systemClock, {
    timeoutMs: 10_000,
    userAgent: 'warp2api/test',
    lookup(asked, _options, callback) {
      if (asked === 'known.test') callback(null, [{ address: '127.0.0.1', family: 4 }]);
      else callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), []);
    },
  });
  const taken = vi.spyOn(OriginPool.prototype, 'take');
  onTestFinished(() => {
    taken.mockRestore();
    dispatcher.shut(new Error('the test is over'));
    server.close();
    server.closeAllConnections();
  });
  const pools = () => new Set(taken.mock.contexts).size;
  const ask = async () => (await send(dispatcher, `http://${name}:${port}${path}`).ended)?.name;

  expect(await Promise.all([ask(), ask()])).toEqual([fault, fault]);
  expect(pools()).toBe(1);
  // The last connection may still be closing.
  await vi.waitFor(async () => {
    expect(await ask()).toBe(fault);
    expect(pools()).toBeGreaterThan(1);
  }, 30_000);
});
