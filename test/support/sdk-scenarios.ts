import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unicodeText } from '../../sandbox/shapes.ts';
import { pixel } from '../../src/core/testing/pixel.ts';
import { eventually, startTestServices, type TestServices } from './services.ts';

export interface Ask {
  readonly model: string;
  readonly prompt: string;
  /** Base64 of a PNG to send along. */
  readonly image?: string;
  readonly signal?: AbortSignal;
}

export interface Heard {
  readonly text: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** What of an error an SDK tells its user. */
export interface SeenError {
  /** It is of the class the SDK has for this. */
  readonly isOwnClass: boolean;
  readonly status: number | undefined;
  readonly message: string;
  readonly retryAfter: string | undefined;
  readonly param?: string | null | undefined;
}

/** An official SDK on one of the dialects. Each call is what its own documentation would have a user write. */
export interface SdkJudge {
  answer(ask: Ask): Promise<Heard>;
  stream(ask: Ask, onText: (text: string) => void): Promise<Heard>;
  /** Has the SDK run the tool `get_weather` until there is text; where `run` throws the model hears of it. */
  loop(ask: Ask, run: (city: string) => string, isStream: boolean): Promise<string>;
  /** An answer by the schema {city: string}; `prompt` is what makes the echo scenario give it. */
  object(ask: Ask): Promise<unknown>;
  objectPrompt?: string;
  /** Sends a parameter the gateway refuses by name, and the name; undefined where the SDK can send none. */
  bad?: { readonly param: string; send(ask: Ask): Promise<unknown> };
  seen(thrown: unknown, expectedStatus: number): SeenError;
  /** The status of an upstream that is not available. */
  readonly unavailable: 500 | 502 | 503;
}

export interface JudgeOptions {
  readonly url: string;
  readonly apiKey: string;
}

const failing = ['429', '400', '500', 'stall'] as const;
const failingModel = (name: (typeof failing)[number], judge: number) => `failing-${name}-${judge}`;

const clientKey = 'client-key';
export const weatherParameters = {
  type: 'object' as const,
  properties: { city: { type: 'string' as const } },
  required: ['city'],
  additionalProperties: false as const,
};
const twoCalls = 'call get_weather {"city": "Oslo"}\ncall get_weather {"city": "Rome"}';

/** The scenarios that every SDK has to come through, on one service for all judges of a file; answers where it is. */
export function judgeSdks(judges: Record<string, (options: JudgeOptions) => SdkJudge>): () => JudgeOptions {
  let services: TestServices;
  beforeAll(async () => {
    services = await startTestServices({ API_KEYS: clientKey, UPSTREAM_IDLE_SECONDS: '1' });
    const good = ['', '-echo', '-unicode', '-reasoning', '-drip'].map((name) => `sandbox${name}`);
    const bad = Object.keys(judges).flatMap((_, index) => failing.map((name) => failingModel(name, index)));
    services.upstream.setModels([...good, ...bad].map((id) => ({ id })));
    await services.addAccount('wk-1.good', { models: good });
    // What fails rests its account: each failure of each judge has a model and an account of its own.
    for (const index of Object.keys(judges).keys()) {
      for (const name of failing) {
        await services.addAccount(`wk-${index}.${name}`, { models: [failingModel(name, index)] });
      }
    }
  });
  afterAll(() => services.close());

  describe.each(Object.entries(judges).map(([name, create], index) => ({ name, create, index })))(
    '$name',
    ({ create: createJudge, index }) => {
      const modelThat = (name: (typeof failing)[number]) => failingModel(name, index);
      let judge: SdkJudge;
      beforeAll(() => {
        judge = createJudge({ url: services.gatewayUrl, apiKey: clientKey });
      });

      it('reads an answer, whole and as a stream, with its usage', async () => {
        const whole = await judge.answer({ model: 'sandbox', prompt: 'Hello' });
        const pieces: string[] = [];
        const streamed = await judge.stream({ model: 'sandbox', prompt: 'Hello' }, (text) =>
          pieces.push(text),
        );
        expect(whole.text).toBe('You said: Hello');
        expect(streamed.text).toBe('You said: Hello');
        expect(pieces.filter((piece) => piece !== '').length).toBeGreaterThan(1);
        expect(whole.inputTokens).toBeGreaterThan(100);
        expect(whole.outputTokens).toBeGreaterThan(0);
        expect([streamed.inputTokens, streamed.outputTokens]).toEqual([
          whole.inputTokens,
          whole.outputTokens,
        ]);
      });

      it('reads every character as it was', async () => {
        const prompt = 'Zażółć "gęślą"\n\ndata: [DONE]';
        const expected = `${unicodeText}You said: ${prompt}`;
        expect((await judge.answer({ model: 'sandbox-unicode', prompt })).text).toBe(expected);
        expect((await judge.stream({ model: 'sandbox-unicode', prompt }, () => {})).text).toBe(expected);
      });

      it('keeps the thoughts of a model out of the text', async () => {
        const ask = { model: 'sandbox-reasoning', prompt: 'Hello' };
        expect((await judge.answer(ask)).text).toBe('You said: Hello');
        expect((await judge.stream(ask, () => {})).text).toBe('You said: Hello');
      });

      it.each([false, true])(
        'runs several tools and sends their results back in one conversation (stream: %s)',
        async (isStream) => {
          const first = services.upstream.turns.length;
          const asked: string[] = [];
          const text = await judge.loop(
            { model: 'sandbox', prompt: twoCalls },
            (city) => {
              asked.push(city);
              return `4 degrees in ${city}`;
            },
            isStream,
          );
          expect(asked).toEqual(['Oslo', 'Rome']);
          expect(text).toMatch(
            /^Tool get_weather returned: "?4 degrees in Oslo"?\nTool get_weather returned: "?4 degrees in Rome"?$/,
          );
          const turns = services.upstream.turns.slice(first);
          expect(turns.flatMap(({ problems }) => problems)).toEqual([]);
          expect(turns).toHaveLength(2);
          expect(turns[1]?.conversationId).toBe(turns[0]?.conversationId);
          expect(turns[0]?.toolNames).toEqual(['get_weather']);
        },
      );

      it('tells the model of a tool that failed', async () => {
        const text = await judge.loop(
          { model: 'sandbox', prompt: 'call get_weather {"city": "Oslo"}' },
          () => {
            throw new Error('no such city');
          },
          false,
        );
        expect(text).toMatch(/^Tool get_weather (failed|returned): .*no such city/);
      });

      it('gets an object that fits a schema', async () => {
        const prompt = judge.objectPrompt ?? '{"city": "Oslo"}';
        expect(await judge.object({ model: 'sandbox-echo', prompt })).toEqual({ city: 'Oslo' });
      });

      it('sends an image', async () => {
        await judge.answer({ model: 'sandbox', prompt: 'What is this?', image: pixel });
        const turn = services.upstream.turns.at(-1);
        expect([turn?.imageCount, turn?.query, turn?.problems]).toEqual([1, 'What is this?', []]);
      });

      async function errorOf(asking: Promise<unknown>, status: number): Promise<SeenError> {
        const thrown = await asking.then(
          () => undefined,
          (error: unknown) => error ?? new Error('It was refused with nothing.'),
        );
        if (thrown === undefined) throw new Error('No error came.');
        return judge.seen(thrown, status);
      }

      it.each([false, true])('knows each error for what it is (stream: %s)', async (isStream) => {
        const ask = (model: string, by = judge) =>
          isStream ? by.stream({ model, prompt: 'Hello' }, () => {}) : by.answer({ model, prompt: 'Hello' });
        const stranger = createJudge({ url: services.gatewayUrl, apiKey: 'wrong' });
        expect(await errorOf(ask('sandbox', stranger), 401)).toMatchObject({ isOwnClass: true, status: 401 });
        expect(await errorOf(ask('no-such-model'), 404)).toMatchObject({
          isOwnClass: true,
          status: 404,
          message: expect.stringContaining('no-such-model'),
        });
        expect(await errorOf(ask(modelThat('400')), 400)).toMatchObject({ isOwnClass: true, status: 400 });
        expect(await errorOf(ask(modelThat('500')), judge.unavailable)).toMatchObject({
          isOwnClass: true,
          status: judge.unavailable,
        });
      });

      it('hears when to come back after too many requests', async () => {
        const error = await errorOf(judge.answer({ model: modelThat('429'), prompt: 'Hello' }), 429);
        expect(error).toMatchObject({ isOwnClass: true, status: 429 });
        expect(Number(error.retryAfter)).toBeGreaterThanOrEqual(1);
      });

      it('hears the name of a parameter that cannot be honoured', async () => {
        if (judge.bad === undefined) return;
        const { param } = judge.bad;
        const error = await errorOf(judge.bad.send({ model: 'sandbox', prompt: 'Hello' }), 400);
        expect(error).toMatchObject({
          isOwnClass: true,
          status: 400,
          message: expect.stringContaining(param),
        });
        if (error.param !== undefined) expect(error.param).toBe(param);
      });

      it('gets an error, and not half an answer, when a stream breaks', async () => {
        let text = '';
        const reading = judge.stream({ model: modelThat('stall'), prompt: 'Hello' }, (piece) => {
          text += piece;
        });
        await expect(reading).rejects.toThrow(/fell silent/);
        expect(text).toBe('The first part of an answer');
      });

      it('stops the upstream when its user goes away', async () => {
        const before = services.upstream.counts().cancelled;
        const abort = new AbortController();
        const ask = { model: 'sandbox-drip', prompt: 'Hello', signal: abort.signal };
        const reading = judge.stream(ask, () => abort.abort()).catch(() => undefined);
        await eventually('the upstream is cancelled', () => services.upstream.counts().cancelled > before);
        await reading;
      });
    },
  );
  return () => ({ url: services.gatewayUrl, apiKey: clientKey });
}
