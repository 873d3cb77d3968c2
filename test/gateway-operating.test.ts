import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, it } from 'vitest';
import { gatewayApi } from '../src/gateway/http/api.ts';
import { chatAnswer, errorAnswer, healthAnswer, modelList } from '../src/gateway/http/api-answers.ts';
import { createGatewayServer } from '../src/gateway/http/server.ts';
import { quietKeep } from '../src/gateway/testing/turn-fixture.ts';
import type { ApiDocument } from '../src/lib/api/api-document.ts';
import { routesOf } from '../src/lib/http/http-server.ts';
import { createLogger } from '../src/lib/log/logger.ts';
import { servicesForTest, userTurn } from './support/services.ts';

describe("the gateway's document", () => {
  it('is valid and describes what the gateway really answers', async () => {
    const services = await servicesForTest();
    const get = async (path: string) => (await fetch(`${services.gatewayUrl}${path}`)).json();
    const document = (await get('/openapi.json')) as ApiDocument;
    expect(await new Validator().validate(JSON.parse(JSON.stringify(document)))).toEqual({ valid: true });
    expect(document.paths['/']?.['get']?.responses['200']?.content).toEqual({ 'application/json': {} });
    healthAnswer.strict().parse(await get('/health'));
    modelList.strict().parse(await get('/v1/models'));
    chatAnswer.strict().parse(await (await services.chat(userTurn('sandbox', 'hello'))).json());
    errorAnswer.strict().parse(await (await services.chat({})).json());
    const page = await (await fetch(`${services.gatewayUrl}/docs`)).text();
    expect(page).toContain('/v1/chat/completions');
    expect(page).not.toMatch(/<script|https?:\/\//);
  });

  it('names every route of the server and who may call it, and no other', async () => {
    const unused = {} as never;
    const app = createGatewayServer({
      facts: async () => expect.unreachable(),
      pool: unused,
      dependencies: { clock: { now: () => 0, after: () => () => {} } } as never,
      apiKeys: [],
      managedKeys: unused,
      providerNames: [],
      limits: unused,
      poolWatch: unused,
      responses: unused,
      store: unused,
      keep: quietKeep,
      database: unused,
      usage: unused,
      bodies: unused,
      isPoolInside: true,
      adminKey: undefined,
      poolDoor: unused,
      live: unused,
      allowedHosts: [],
      shutdownMs: 0,
      logger: createLogger('FATAL'),
    });
    await app.ready();
    // A model's id may hold slashes, so the server takes the rest of the path there.
    const pathOf = (path: string) =>
      path.replace(/^(\/v1(?:beta|alpha)?\/models\/)\{\w+\}(:\{method\})?$/, '$1*').replace('{id}', ':id');
    const described = gatewayApi.routes.map(
      ({ method, path, access }) => `${method} ${pathOf(path)} ${access}`,
    );
    expect(described.sort()).toEqual(
      routesOf(app)
        .map(({ method, url, access }) => `${method} ${url} ${access}`)
        .sort(),
    );
  });
});

describe("the gateway's /metrics", () => {
  it('counts turns by how they ended, attempts and tokens, and names no client, account or model of its own making', async () => {
    const services = await servicesForTest();
    const id = await services.addAccount('wk-one');
    await services.chat(userTurn('claude-sonnet', 'hello'));
    const stream = await services.chat(userTurn('made-up-by-a-client', 'hello', { stream: true }));
    await stream.text();
    await services.chat({ model: 'x' });
    const text = await (await fetch(`${services.gatewayUrl}/metrics`)).text();
    const value = (line: string): number | undefined => {
      const found = text.split('\n').find((candidate) => candidate.startsWith(`warp2api_gateway_${line} `));
      return found === undefined ? undefined : Number(found.split(' ').at(-1));
    };
    expect(value('turns_total{protocol="chat",model="claude",outcome="success"}')).toBe(1);
    expect(value('first_content_seconds_count{protocol="chat",stream="no"}')).toBe(1);
    expect(text).toMatch(/turns_total{protocol="chat",model="other",outcome="\w+"} 1/);
    expect(value('upstream_attempts_total{provider="warp"}')).toBeGreaterThanOrEqual(1);
    expect(value('tokens_total{direction="input"}')).toBeGreaterThan(0);
    expect(value('credits_total{provider="warp"}')).toBeGreaterThan(0);
    expect(value('leases')).toBe(1);
    expect(value('turns')).toBe(0);
    expect(value('pool_up')).toBe(1);
    expect(text).toContain('process_cpu_seconds_total');
    for (const word of ['made-up', id, 'wk-one']) expect(text).not.toContain(word);
  });

  it('needs the admin key where there is one, else a key of a client', async () => {
    const services = await servicesForTest({ ADMIN_KEY: 'the-boss', API_KEYS: 'client' });
    const status = async (key: string) => {
      const headers = { authorization: `Bearer ${key}` };
      return (await fetch(`${services.gatewayUrl}/metrics`, { headers })).status;
    };
    expect([await status('the-boss'), await status('client')]).toEqual([200, 401]);
    const others = await servicesForTest({ API_KEYS: 'client' });
    const open = await fetch(`${others.gatewayUrl}/metrics`);
    expect(open.status).toBe(401);
  });
});
