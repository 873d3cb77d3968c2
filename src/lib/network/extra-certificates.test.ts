import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { expect, it } from 'vitest';
import { systemClock } from '../clock.ts';
import { trustCertificates } from './extra-certificates.ts';
import { createNetwork } from './network.ts';
import { noProxies } from './proxy-rules.ts';
import { makeCertificate } from './testing/certificate.ts';
import { startH2Server } from './testing/h2-server.ts';

it('a server whose certificate was named is trusted from then on', async () => {
  const before = getCACertificates('default');
  const certificate = await makeCertificate();
  const server = await startH2Server(certificate);
  const network = createNetwork({ proxies: noProxies, clock: systemClock, userAgent: 'warp2api/test' });
  const url = new URL(`https://localhost:${server.port}`);
  try {
    await expect(network.probe(url)).rejects.toThrow(/certificate that is not trusted.*NODE_EXTRA_CA_CERTS/);
    trustCertificates([certificate.cert]);
    expect(await network.probe(url)).toMatchObject({ protocol: 'h2' });
  } finally {
    setDefaultCACertificates(before);
    network.close();
    await server.close();
  }
});
