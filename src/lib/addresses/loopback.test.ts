import { networkInterfaces } from 'node:os';
import { expect, it } from 'vitest';
import { isOnThisMachine } from './loopback.ts';

it('knows this machine by its loopback names and its own addresses, and by nothing else', () => {
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const urls = own.map(
    ({ address, family }) => `http://${family === 'IPv6' ? `[${address.split('%')[0]}]` : address}:8019`,
  );
  for (const url of ['http://127.0.0.1:1', 'http://localhost', 'http://[::1]:2', ...urls])
    expect(isOnThisMachine(url), url).toBe(true);
  for (const url of [
    'http://pool.example',
    'http://192.0.2.1:8019',
    'http://[2001:db8::1]',
    'http://127.0.0.1.example',
  ])
    expect(isOnThisMachine(url), url).toBe(false);
});
