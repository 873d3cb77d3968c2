import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { createConnector, type LookupAll } from './connector.ts';
import { noProxies, ProxyRules } from './proxy-rules.ts';
import { UnsentError } from './transport-errors.ts';

const names: Readonly<Record<string, readonly string[]>> = {
  'metadata.test': ['169.254.169.254'],
  'mixed.test': ['127.0.0.1', '::ffff:169.254.169.254'],
  'lan.test': ['127.0.0.1'],
  'vendor.test': ['93.184.215.14', '10.0.0.7'],
};
const lookup: LookupAll = (name, _options, callback) =>
  callback(
    null,
    (names[name] ?? []).map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
  );

it('connects to no name that leads to a cloud’s metadata, and to names in the local network only where they may lead there', async () => {
  let connections = 0;
  const server = createServer();
  server.on('connection', () => (connections += 1));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const connector = createConnector(new ProxyRules(noProxies), {
    timeoutMs: 2_000,
    userAgent: 'test',
    lookup,
    publicHosts: new Set(['vendor.test']),
  });
  for (const name of ['metadata.test', 'mixed.test']) {
    for (const scheme of ['http', 'https']) {
      const opening = connector.open(new URL(`${scheme}://${name}:${port}`));
      await expect(opening).rejects.toThrow(UnsentError);
      await expect(opening).rejects.toMatchObject({
        phase: 'name',
        message: expect.stringContaining('metadata'),
      });
    }
  }
  const opening = connector.open(new URL(`https://vendor.test:${port}`));
  await expect(opening).rejects.toMatchObject({
    phase: 'name',
    message: expect.stringContaining('private_network'),
  });
  expect(connections).toBe(0);
  (await connector.open(new URL(`http://lan.test:${port}`))).destroy();
  await expect.poll(() => connections).toBe(1);
});

it('connects to the public internet only where it is to, and asks for a name once', async () => {
  let connections = 0;
  const server = createServer((_request, response) => response.end());
  server.on('connection', () => (connections += 1));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  let asked = 0;
  const connector = createConnector(new ProxyRules(noProxies), {
    timeoutMs: 1_000,
    userAgent: 'test',
    publicHosts: 'all',
    // The second answer would be the rebound one.
    lookup(_name, _options, callback) {
      asked += 1;
      callback(null, [{ address: asked === 1 ? '192.0.2.1' : '127.0.0.1', family: 4 }]);
    },
  });
  const refusal = { phase: 'name', code: 'PRIVATE_ADDRESS' };
  for (const host of ['127.0.0.1', '[::ffff:127.0.0.1]', '[::127.0.0.1]', '2130706433'])
    await expect(connector.open(new URL(`http://${host}:${port}`))).rejects.toMatchObject(refusal);
  expect(asked).toBe(0);
  await expect(connector.open(new URL(`http://name.test:${port}`))).rejects.toMatchObject(refusal);
  expect([asked, connections]).toEqual([1, 0]);
});
