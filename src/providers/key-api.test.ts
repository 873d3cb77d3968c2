import { expect, it } from 'vitest';
import { z } from 'zod';
import type { ProviderHttp } from '../core/provider.ts';
import { createKeyApi } from './key-api.ts';

function apiAt(answer: { status: number; type: string; body: string }) {
  const http: ProviderHttp = async () => ({
    status: answer.status,
    headers: { 'content-type': answer.type },
    body: Buffer.from(answer.body),
  });
  return createKeyApi({ adminKey: 'k', baseUrl: 'https://api.example.test', http, userAgent: 't' });
}

it('takes a key for gone when the API says so', async () => {
  const api = apiAt({ status: 404, type: 'application/json', body: '{}' });
  expect(await api.call('DELETE', '/keys/1', z.unknown())).toBeNull();
});

it.each([401, 403, 404])('leaves it open what was done where a page answers with %i', async (status) => {
  const api = apiAt({ status, type: 'text/html', body: '<html>Sign in to the network</html>' });
  await expect(api.call('DELETE', '/keys/1', z.unknown())).rejects.toMatchObject({
    code: 'upstream_unavailable',
    fault: 'network',
  });
});
