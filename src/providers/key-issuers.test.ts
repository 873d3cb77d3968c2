import { expect, it } from 'vitest';
import type { ProviderHttp } from '../core/provider.ts';
import { createOpenRouterKeyIssuer } from './key-issuers.ts';

function issuerAt(answer: { status: number; type: string; body: string }) {
  const http: ProviderHttp = async () => ({
    status: answer.status,
    headers: { 'content-type': answer.type },
    body: Buffer.from(answer.body),
  });
  const access = { adminKey: 'k', baseUrl: 'https://api.example.test', http, userAgent: 't' };
  return createOpenRouterKeyIssuer({ ...access, limit: 1, limitReset: undefined });
}

it('takes a key for gone when the API says so', async () => {
  const issuer = issuerAt({ status: 404, type: 'application/json', body: '{}' });
  await expect(issuer.revoke('1')).resolves.toBeUndefined();
});

it.each([401, 403, 404])('leaves it open what was done where a page answers with %i', async (status) => {
  const issuer = issuerAt({ status, type: 'text/html', body: '<html>Sign in to the network</html>' });
  await expect(issuer.revoke('1')).rejects.toMatchObject({
    code: 'upstream_unavailable',
    fault: 'network',
  });
});
