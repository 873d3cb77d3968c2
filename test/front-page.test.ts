import { expect, test } from 'vitest';
import { version } from '../src/lib/version.ts';
import { servicesForTest } from './support/services.ts';

const browser = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };

test('both services say at / what they are and where to go from here, without a key', async () => {
  const { gatewayUrl, poolUrl } = await servicesForTest({
    API_KEYS: 'sk-client-1234567890',
    ADMIN_KEY: 'admin-key-1234567890',
  });
  for (const path of ['/', '/v1', '/v1/']) {
    const answer = await fetch(`${gatewayUrl}${path}`);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([
      200,
      'application/json; charset=utf-8',
    ]);
    expect(await answer.json()).toEqual({
      name: 'Warp2API gateway',
      version,
      description: expect.stringContaining('OpenAI, Anthropic and Gemini'),
      openai_base_url: `${gatewayUrl}/v1`,
      anthropic_base_url: gatewayUrl,
      gemini_base_url: gatewayUrl,
      models: `${gatewayUrl}/v1/models`,
      admin: `${gatewayUrl}/admin`,
      docs: `${gatewayUrl}/docs`,
      openapi: `${gatewayUrl}/openapi.json`,
      health: `${gatewayUrl}/health`,
      clients: expect.stringContaining('docs/clients.md'),
      pool: poolUrl,
    });
  }
  expect(await (await fetch(`${poolUrl}/`)).json()).toEqual({
    name: 'Warp2API account pool',
    version,
    description: expect.any(String),
    status: `${poolUrl}/api/accounts/status`,
    admin: `${poolUrl}/admin`,
    docs: `${poolUrl}/docs`,
    openapi: `${poolUrl}/openapi.json`,
    health: `${poolUrl}/health`,
    programs: expect.stringContaining('docs/pool.md'),
    gateway: gatewayUrl,
  });
});

test('for a page of another origin it varies with that as well', async () => {
  const origin = 'https://chat.example.com';
  const { gatewayUrl } = await servicesForTest({ CORS_ORIGINS: origin });
  const { headers } = await fetch(`${gatewayUrl}/`, { headers: { origin } });
  expect([headers.get('access-control-allow-origin'), headers.get('vary')]).toEqual([
    origin,
    'Origin, Accept',
  ]);
});

test('a browser gets a page whose links lead somewhere', async () => {
  const { gatewayUrl, poolUrl } = await servicesForTest();
  for (const url of [gatewayUrl, `${gatewayUrl}/v1`, poolUrl]) {
    const answer = await fetch(url, { headers: browser });
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(answer.headers.get('vary')).toContain('Accept');
    const page = await answer.text();
    const links = [...page.matchAll(/href="([^"]+)"/g)].map(([, link]) => link ?? '');
    expect(links.length).toBeGreaterThanOrEqual(3);
    for (const link of links) {
      const led = await fetch(new URL(link, url));
      const text = await led.text();
      // Tests of the admin page build it when they need it, which may be now.
      if (link === '/admin' && led.status === 503) expect(text).toContain('is not built');
      else expect([link, led.status]).toEqual([link, 200]);
    }
  }
});

test('what it repeats of a request is text and no part of the page', async () => {
  const { gatewayUrl } = await servicesForTest({ API_KEYS: 'sk-client-1234567890' });
  const headers = { ...browser, 'x-forwarded-host': 'a"><script>alert(1)</script>' };
  const page = await (await fetch(gatewayUrl, { headers })).text();
  expect(page).not.toContain('<script');
});

test('a wrong method there is shown the way, by an error of the dialect', async () => {
  const { gatewayUrl, poolUrl } = await servicesForTest();
  for (const path of ['/', '/v1', '/v1/']) {
    const answer = await fetch(`${gatewayUrl}${path}`, { method: 'POST', body: '{"model":"auto"}' });
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET']);
    const { error } = (await answer.json()) as { error: { message: string } };
    expect(error.message).toContain(
      `takes GET, not POST. The base URL for OpenAI clients is ${gatewayUrl}/v1`,
    );
    expect(error.message).toContain('POST /v1/chat/completions');
  }
  const answer = await fetch(poolUrl, { method: 'DELETE' });
  expect(answer.status).toBe(405);
  expect(await answer.text()).toContain('its calls are below /api, and /docs has them all');
});
