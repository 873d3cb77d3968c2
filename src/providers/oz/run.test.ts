import { describe, expect, it } from 'vitest';
import { begin, turn, user } from './run.fake.ts';

describe('a run that goes well', () => {
  it('is begun once, looked at ever less often, and its answer passed on with what it cost', async () => {
    const { oz, clock, start, batches, isClosed } = begin();
    start();
    await clock.advance(0);
    expect(oz.calls()).toEqual(['POST /agent/runs']);
    await clock.advance(999);
    expect(oz.asked).toHaveLength(1);
    await clock.advance(1);
    expect(oz.calls().at(-1)).toBe('GET /agent/runs/r1');
    await clock.advance(1_499);
    expect(oz.asked).toHaveLength(2);
    await clock.advance(1);
    expect(oz.asked).toHaveLength(3);
    await clock.advance(60_000);
    const looks = oz.asked.length;
    await clock.advance(5_000);
    expect(oz.asked.length - looks).toBe(1);

    oz.state.run = {
      state: 'SUCCEEDED',
      request_usage: { inference_cost: 1, compute_cost: 0.25, platform_cost: 0.5 },
    };
    oz.state.said = ['First.', 'Then the rest.'];
    await clock.advance(5_000);
    expect(batches).toEqual([
      [
        { type: 'text-delta', text: 'First.\n\nThen the rest.' },
        { type: 'usage', usage: { inputTokens: 0, outputTokens: 0, credits: 1.75 } },
        { type: 'finish', reason: 'stop' },
      ],
    ]);
    expect(isClosed()).toBe(true);
    expect(oz.calls()).not.toContain('POST /agent/runs/r1/cancel');
  });

  it('takes what no run costs for what it is', async () => {
    const { oz, clock, start, batches } = begin();
    oz.state.run = {
      state: 'SUCCEEDED',
      request_usage: { inference_cost: 1e308, compute_cost: 1e308, platform_cost: -5 },
    };
    oz.state.said = ['Done.'];
    start();
    await clock.advance(2_000);
    const usage = { inputTokens: 0, outputTokens: 0, credits: 2e9 };
    expect(batches.flat()).toContainEqual({ type: 'usage', usage });
  });

  it('passes on what the agent says as it says it', async () => {
    const { oz, clock, start, batches } = begin();
    start();
    oz.state.run = { state: 'INPROGRESS' };
    oz.state.said = ['One'];
    await clock.advance(1_000);
    expect(batches).toEqual([[{ type: 'text-delta', text: 'One' }]]);
    oz.state.said = ['One and '];
    await clock.advance(1_000);
    expect(batches.at(-1)).toEqual([{ type: 'text-delta', text: ' and' }]);
    oz.state.said = ['One and two.', 'Three.'];
    oz.state.run = { state: 'SUCCEEDED' };
    await clock.advance(1_500);
    expect(batches.slice(2)).toEqual([
      [
        { type: 'text-delta', text: ' two.\n\nThree.' },
        { type: 'finish', reason: 'stop' },
      ],
    ]);
  });

  it('answers JSON with the last message alone, and nothing before the end', async () => {
    const { oz, clock, start, text } = begin(turn({ responseFormat: { type: 'json' } }));
    start();
    oz.state.run = { state: 'INPROGRESS' };
    oz.state.said = ['I will look.', '{"a":1}'];
    await clock.advance(10_000);
    expect(text()).toBe('');
    oz.state.run = { state: 'SUCCEEDED' };
    await clock.advance(5_000);
    expect(text()).toBe('{"a":1}');
  });

  it('says where it can be watched, before its first words', async () => {
    const { oz, clock, start, urls } = begin();
    oz.state.run = { state: 'INPROGRESS', session_link: 'https://example.test/session/1' };
    oz.state.said = ['One'];
    start();
    await clock.advance(1_000);
    oz.state.run = { state: 'SUCCEEDED', session_link: 'https://example.test/session/2' };
    await clock.advance(5_000);
    expect(urls).toEqual(['https://example.test/session/1']);
  });

  it('waits with what is new while the reader is behind', async () => {
    const { oz, clock, start, text, batches } = begin(turn(), { isPaused: true });
    const call = start();
    oz.state.run = { state: 'INPROGRESS' };
    oz.state.said = ['One'];
    await clock.advance(2_000);
    const asked = oz.asked.length;
    oz.state.said = ['One two'];
    await clock.advance(300_000);
    call.checkTimeouts(clock.monotonic());
    expect([oz.asked.length, text()]).toEqual([asked, 'One']);
    oz.state.run = { state: 'SUCCEEDED' };
    call.resume();
    await clock.advance(5_000);
    expect(text()).toBe('One two');
    expect(batches.at(-1)?.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
  });
});

describe('what a run is begun with', () => {
  it('is the whole conversation, the system text apart, under our own name', async () => {
    const png = Buffer.from('picture').toString('base64');
    const { oz, clock, start } = begin(
      turn({
        model: 'gpt-5-4-high',
        messages: [
          { role: 'system', parts: [{ type: 'text', text: 'Be brief.' }] },
          user('Earlier question'),
          { role: 'assistant', parts: [{ type: 'text', text: 'Earlier answer' }] },
          {
            role: 'user',
            parts: [
              { type: 'text', text: 'And now?' },
              { type: 'image', mediaType: 'image/png', data: png },
            ],
          },
        ],
      }),
    );
    start();
    await clock.advance(0);
    const [{ body, headers } = { body: undefined, headers: {} }] = oz.asked;
    expect(body).toEqual({
      prompt: expect.stringMatching(/Earlier question[\s\S]*Earlier answer[\s\S]*And now\?$/),
      config: {
        name: expect.stringMatching(/^warp2api-/),
        model_id: 'gpt-5-4-high',
        base_prompt: 'Be brief.',
        environment_id: 'env-1',
        idle_timeout_minutes: 1,
      },
      attachments: [{ file_name: 'image-1.png', mime_type: 'image/png', data: png }],
    });
    expect(headers).toMatchObject({ authorization: 'Bearer wk-1', 'user-agent': 'warp2api/test' });
  });

  it('names no model where the team has its default', async () => {
    const { oz, clock, start } = begin();
    start();
    await clock.advance(0);
    expect(oz.asked[0]?.body?.['config']).not.toHaveProperty('model_id');
  });

  const tool = { name: 'look', parameters: {} };
  it.each([
    ['tools', turn({ tools: [tool] }), 'tools'],
    ['no new input', turn({ messages: [] }), 'messages'],
  ])('cannot be %s', (_what, request, param) => {
    const { start, oz } = begin(request);
    expect(start).toThrow(expect.objectContaining({ code: 'invalid_request', param }));
    expect(oz.asked).toHaveLength(0);
  });

  it('may be a turn whose tools are switched off', async () => {
    const { start, oz, clock } = begin(turn({ tools: [tool], toolChoice: { type: 'none' } }));
    start();
    await clock.advance(0);
    expect(oz.asked).toHaveLength(1);
  });
});
