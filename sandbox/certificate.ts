// A certificate for this run of the sandbox: it signs itself, so that a client trusts it by trusting it alone.
import { randomUUID } from 'node:crypto';
import { isIP } from 'node:net';

export interface Certificate {
  /** PEM. */
  readonly certificate: string;
  /** PEM. */
  readonly key: string;
}

const DAY_MS = 24 * 60 * 60 * 1_000;
const dnsName = 2;
const ipAddress = 7;

/** Good for `host` and for every name of this machine, from yesterday on for a month. */
export async function makeCertificate(host: string): Promise<Certificate> {
  // Loaded where it is needed only: the sandbox seldom speaks TLS.
  const { generate } = await import('selfsigned');
  const now = Date.now();
  const names = [...new Set(['localhost', '127.0.0.1', '::1', host])];
  // Unique: of two authorities with the same name OpenSSL tries only the first.
  const made = await generate([{ name: 'commonName', value: `warp2api sandbox ${randomUUID()}` }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(now - DAY_MS),
    notAfterDate: new Date(now + 30 * DAY_MS),
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      {
        name: 'subjectAltName',
        altNames: names.map((name) =>
          isIP(name) ? { type: ipAddress, ip: name } : { type: dnsName, value: name },
        ),
      },
    ],
  });
  return { certificate: made.cert, key: made.private };
}
