import { expect, it, onTestFinished } from 'vitest';
import { startSandbox } from '../../../sandbox/index.ts';
import type { ProviderHttp } from '../../core/provider.ts';
import { testContext } from '../testing/provider-context.ts';
import { testHttp } from '../testing/test-http.ts';
import { createOzProvider } from './provider.ts';

async function atSandbox() {
  const sandbox = await startSandbox();
  onTestFinished(() => sandbox.close());
  return ozAt(sandbox.url);
}

const ozAt = (url: string, http = testHttp) =>
  createOzProvider({ ...testContext, http }, { WARP_SERVER_URL: url, OZ_RUN_TIMEOUT_SECONDS: 1_800 });

it('proves a key with the list of models, which costs nothing', async () => {
  const oz = await atSandbox();
  expect(await oz.getQuota({ bearer: 'wk-1' })).toEqual({ isUnlimited: false });
  await expect(oz.getQuota({ bearer: 'wk-1.revoked' })).rejects.toMatchObject({
    code: 'upstream_unauthorized',
  });
  await expect(oz.getQuota({ bearer: 'wk-1.refused' })).rejects.toMatchObject({ code: 'upstream_refused' });
});

it("lists the account's models, the team's default first, without those switched off", async () => {
  const models = await (await atSandbox()).listModels({ bearer: 'wk-1' });
  expect(models[0]).toMatchObject({ id: 'auto', isDefault: true });
  expect(models).toContainEqual(
    expect.objectContaining({
      id: 'claude-4-6-opus-high',
      vendor: 'anthropic',
      effort: 'high',
      hasVision: true,
    }),
  );
  const switchedOff = models.find(({ id }) => id === 'switched-off');
  expect(switchedOff?.withheld).toMatchObject({ isPassing: false });
});

it('takes an account for spent when that is why none of its models may be used', async () => {
  const answer = (reasons: (string | undefined)[]): ProviderHttp => {
    const models = reasons.map((disable_reason, index) => ({ id: `m${index}`, disable_reason }));
    const body = Buffer.from(JSON.stringify({ default_model_id: 'm0', models }));
    return async () => ({ status: 200, headers: { 'content-type': 'application/json' }, body });
  };
  const quota = (reasons: (string | undefined)[]) =>
    ozAt('http://127.0.0.1:9', answer(reasons)).getQuota({
      bearer: 'wk-1',
    });
  expect(await quota(['OUT_OF_REQUESTS', 'ADMIN_DISABLED'])).toMatchObject({
    isAvailable: false,
    remaining: 0,
  });
  expect(await quota(['OUT_OF_REQUESTS', undefined])).toEqual({ isUnlimited: false });
});

it('names what it cannot read or reach', async () => {
  const odd: ProviderHttp = async () => ({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: Buffer.from('{"models":"none"}'),
  });
  await expect(ozAt('http://127.0.0.1:9', odd).listModels({ bearer: 'wk-1' })).rejects.toMatchObject({
    code: 'upstream_protocol',
  });
  await expect(ozAt('http://127.0.0.1:1').listModels({ bearer: 'wk-1' })).rejects.toMatchObject({
    code: 'upstream_unavailable',
  });
});

it('does not hold a page of a proxy against the account', async () => {
  const page: ProviderHttp = async () => ({
    status: 403,
    headers: { 'content-type': 'text/html' },
    body: Buffer.from('<html>403</html>'),
  });
  const oz = ozAt('http://127.0.0.1:9', page);
  await expect(oz.getQuota({ bearer: 'wk-1' })).rejects.toMatchObject({
    code: 'upstream_unavailable',
    fault: 'network',
  });
});

it("has keys like Warp's", async () => {
  expect((await atSandbox()).normalizeApiKey(' abc ')).toBe('wk-abc');
});
