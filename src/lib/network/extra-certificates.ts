import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

const block = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/** The certificates of a PEM file. Throws an error with a reason to show. */
export function readCertificates(path: string): readonly string[] {
  const blocks = readFileSync(path, 'latin1').match(block) ?? [];
  if (blocks.length === 0) throw new Error('it holds no certificate in PEM form');
  for (const one of blocks) new X509Certificate(one);
  return blocks;
}

/** From now on all connections of this process trust them too. */
export function trustCertificates(certificates: readonly string[]): void {
  if (certificates.length === 0) return;
  // Loaded when there are any: it takes 30 ms.
  const { getCACertificates, setDefaultCACertificates } = process.getBuiltinModule('node:tls');
  setDefaultCACertificates([...getCACertificates('default'), ...certificates]);
}
