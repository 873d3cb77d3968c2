import { describe, expect, it } from 'vitest';
import { eventually, servicesForTest, type TestServices, userTurn } from './support/services.ts';

const oz = { provider: 'oz' };

/** Services whose pool has the one account. */
async function withOz(key = 'wk-1', environment: Record<string, string> = {}): Promise<TestServices> {
  const services = await servicesForTest(environment);
  await services.addAccount(key, oz);
  return services;
}

async function modelIds(services: TestServices): Promise<string[]> {
  const { data } = await services.openai().models.list();
  return data.map(({ id }) => id);
}

describe('an account of oz', () => {
  it('is proved when it is added, and answers by runs', async () => {
    const services = await servicesForTest();
    services.upstream.oz.retireOldPath();
    const id = await services.addAccount('1', oz);
    const { account } = await services.pool(`/api/accounts/${id}`);
    expect(account).toMatchObject({ provider: 'oz', status: 'active' });
    const { data, response } = await services
      .openai()
      .chat.completions.create(userTurn('oz/oz', 'Hello'))
      .withResponse();
    expect(data.choices[0]).toMatchObject({ message: { content: 'You said: Hello' }, finish_reason: 'stop' });
    const [run] = services.upstream.oz.runs;
    expect(run).toMatchObject({
      path: '/api/v1/agent/runs',
      bearer: 'wk-1',
      body: { prompt: 'Hello' },
      cancelCalls: 0,
    });
    expect(run?.userAgent).toMatch(/^warp2api\//);
    expect(response.headers.get('x-warp2api-run-url')).toContain(run?.id);
    expect(response.headers.get('x-warp2api-usage')).toBe('estimated');
    expect(data.usage?.completion_tokens).toBeGreaterThan(0);
    expect(services.log()).toContain('"credits":2');
  });

  it('whose key is no good is kept apart', async () => {
    const services = await servicesForTest();
    const id = await services.addAccount('wk-1.revoked', oz);
    const { account } = await services.pool(`/api/accounts/${id}`);
    expect(account).toMatchObject({ status: 'reauth_required' });
  });

  it('works in the environment that is set', async () => {
    const services = await withOz('wk-1', { OZ_ENVIRONMENT_ID: 'env-7' });
    const system = { role: 'system' as const, content: 'Be brief.' };
    await services.openai().chat.completions.create({
      model: 'oz/claude-4-6-opus-high',
      messages: [system, { role: 'user', content: 'Hello' }],
    });
    expect(services.upstream.oz.runs[0]?.body.config).toMatchObject({
      environment_id: 'env-7',
      model_id: 'claude-4-6-opus-high',
      base_prompt: 'Be brief.',
    });
  });
});

describe('names', () => {
  it('go to oz alone while the pool has no other accounts, and show its models', async () => {
    const services = await withOz();
    await eventually('the gateway knows of the account', async () =>
      (await modelIds(services)).includes('oz/claude-4-6-opus-high'),
    );
    expect(await modelIds(services)).not.toContain('auto');
    const answer = await services.openai().chat.completions.create(userTurn('gpt-4o', 'Hello'));
    expect(answer.choices[0]?.message.content).toBe('You said: Hello');
    expect(services.upstream.oz.runs).toHaveLength(1);
  });

  it('go to Warp once it has accounts, but those with a prefix stay with oz', async () => {
    const services = await withOz();
    await services.addAccount('wk-2');
    await eventually('the gateway knows of the account', async () =>
      (await modelIds(services)).includes('sandbox'),
    );
    expect(await modelIds(services)).toContain('oz/auto');
    await services.openai().chat.completions.create(userTurn('sandbox', 'Hello'));
    expect([services.upstream.turns.length, services.upstream.oz.runs.length]).toEqual([1, 0]);
    await services.openai().chat.completions.create(userTurn('oz/auto', 'Hello'));
    expect([services.upstream.turns.length, services.upstream.oz.runs.length]).toEqual([1, 1]);
  });
});

describe('a stream', () => {
  it('brings what the agent says while it says it', async () => {
    const services = await withOz();
    const { data, response } = await services
      .openai()
      .chat.completions.create({ ...userTurn('oz/oz-growing', 'Go'), stream: true })
      .withResponse();
    const pieces: string[] = [];
    let finish: string | null = null;
    for await (const { choices } of data) {
      if (choices[0]?.delta.content) pieces.push(choices[0].delta.content);
      finish = choices[0]?.finish_reason ?? finish;
    }
    expect(pieces.length).toBeGreaterThan(1);
    expect(pieces.join('')).toBe('tick 1 tick 2 tick 3 tick 4 tick 5 tick 6 tick 7 tick 8 tick 9 tick 10 ');
    expect(finish).toBe('stop');
    expect(response.headers.get('x-warp2api-run-url')).toContain('/session/');
  });

  it('whose reader leaves has its run cancelled', async () => {
    const services = await withOz();
    const stream = await services
      .openai()
      .chat.completions.create({ ...userTurn('oz/oz-endless', 'Go'), stream: true });
    for await (const { choices } of stream) if (choices[0]?.delta.content) break;
    await eventually('the run is cancelled', () => services.upstream.oz.runs[0]?.cancelledAt);
  });

  it('never ends well when the run does not', async () => {
    const services = await withOz();
    const stream = await services
      .openai()
      .chat.completions.create({ ...userTurn('oz/oz-credits-late', 'Go'), stream: true });
    let text = '';
    const reading = (async () => {
      for await (const { choices } of stream) text += choices[0]?.delta.content ?? '';
    })();
    await expect(reading).rejects.toThrow('no credits left');
    expect(text).toBe('The first part of an answer');
  });

  it('is cancelled at the upstream when the gateway stops', async () => {
    const services = await withOz();
    const asked = services.chat(userTurn('oz/oz-endless', 'Go'));
    const run = await eventually('the run works', () =>
      services.upstream.oz.runs.find(({ looks }) => looks > 0),
    );
    await services.close();
    expect((await asked).status).toBe(503);
    expect(run.cancelledAt).toBeDefined();
  });
});

describe('what the gateway does itself', () => {
  it('cuts at a stop sequence and at a token limit, and cancels the rest of the run', async () => {
    const services = await withOz();
    const openai = services.openai();
    const [stopped, limited] = await Promise.all([
      openai.chat.completions.create(userTurn('oz/oz-growing', 'Go', { stop: 'tick 3' })),
      openai.chat.completions.create(userTurn('oz/oz-growing', 'Go', { max_tokens: 4 })),
    ]);
    expect(stopped.choices[0]).toMatchObject({
      message: { content: 'tick 1 tick 2 ' },
      finish_reason: 'stop',
    });
    expect(limited.choices[0]?.finish_reason).toBe('length');
    await eventually('both runs are cancelled', () =>
      services.upstream.oz.runs.every(({ cancelledAt }) => cancelledAt !== undefined),
    );
  });

  it('answers JSON by a schema', async () => {
    const services = await withOz();
    const schema = { type: 'object', required: ['a'], properties: { a: { type: 'number' } } };
    const answer = await services.openai().chat.completions.create(
      userTurn('oz/oz-echo', '{"a":1}', {
        response_format: { type: 'json_schema', json_schema: { name: 'x', schema } },
      }),
    );
    expect(answer.choices[0]?.message.content).toBe('{"a":1}');
    expect(services.upstream.oz.runs).toHaveLength(1);
  });

  it('refuses tools by name, with what to do', async () => {
    const services = await withOz();
    const tools = [{ type: 'function', function: { name: 'look', parameters: { type: 'object' } } }];
    const answer = await services.chat(userTurn('oz/oz', 'Go', { tools }));
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      error: { param: 'tools', message: expect.stringContaining('Warp account') },
    });
    expect(services.upstream.oz.runs).toHaveLength(0);
  });
});

describe('when things go wrong', () => {
  it('another account begins the run that the first has no room for, once', async () => {
    const services = await withOz('wk-1.capacity');
    await services.addAccount('wk-2', { ...oz, tier: 7 });
    const answer = await services.openai().chat.completions.create(userTurn('oz/oz', 'Hello'));
    expect(answer.choices[0]?.message.content).toBe('You said: Hello');
    expect(services.upstream.oz.runs.map(({ bearer }) => bearer)).toEqual(['wk-2']);
    expect(services.log().split('another account is looked for')).toHaveLength(2);
  });

  it('a run whose id was lost is found again, and not begun twice', async () => {
    const services = await withOz();
    await services.addAccount('wk-2', oz);
    const answer = await services.openai().chat.completions.create(userTurn('oz/oz-lost', 'Hello'));
    expect(answer.choices[0]?.message.content).toBe('You said: Hello');
    expect(services.upstream.oz.runs).toHaveLength(1);
  });

  it('errors have the status and the code of the one table', async () => {
    const services = await withOz();
    const answers: unknown[] = [];
    for (const model of ['oz-content', 'oz-failed', 'oz-credits']) {
      const answer = await services.chat(userTurn(`oz/${model}`, 'Go'));
      const { error } = (await answer.json()) as { error: { code: string | null } };
      answers.push([answer.status, error.code]);
    }
    expect(answers).toEqual([
      [400, null],
      [502, 'upstream_unavailable'],
      [429, 'insufficient_quota'],
    ]);
  });

  it('a run that takes too long is cancelled', async () => {
    const services = await servicesForTest({}, (config) => ({
      ...config,
      providerSettings: { ...config.providerSettings, OZ_RUN_TIMEOUT_SECONDS: 2 },
    }));
    await services.addAccount('wk-1', oz);
    const answer = await services.chat(userTurn('oz/oz-queued', 'Go'));
    expect(answer.status).toBe(504);
    await eventually('the run is cancelled', () => services.upstream.oz.runs[0]?.cancelledAt);
  });
});
