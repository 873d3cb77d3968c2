import { Writable } from 'node:stream';
import { expect, it, onTestFinished, test, vi } from 'vitest';
import { BodyBudget } from '../http/body-budget.ts';
import { createHttpServer } from '../http/http-server.ts';
import { KnownSecrets } from '../secrets/known-secrets.ts';
import { gatherLines } from './log-file.ts';
import { createLogger, debugLog, logOwn, onceAMinute } from './logger.ts';

function collect(): { text: () => string; lines: () => Record<string, unknown>[]; stream: Writable } {
  let text = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += chunk;
      done();
    },
  });
  const lines = () =>
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { text: () => text, lines, stream };
}

it('logs nothing of Fastify when a server listens', async () => {
  const { lines, stream } = collect();
  const logger = createLogger('DEBUG', stream);
  const server = createHttpServer({
    logger,
    bodyLimitBytes: 1000,
    bodies: new BodyBudget(1000),
    callers: { allowedHosts: [], keysSetting: 'API_KEYS' },
    access: {},
    encodeUnreadable: String,
    adviseOnPath: String,
  });
  await server.listen({ host: '127.0.0.1', port: 0 });
  logger.info('said by us');
  logger.info({ detail: 1 });
  await server.close();
  expect(lines().map(({ msg, detail }) => msg ?? detail)).toEqual(['said by us', 1]);
});

it('keeps the values of secret fields out, wherever they stand', () => {
  const { lines, stream } = collect();
  createLogger('DEBUG', stream).info({ api_key: 'a', request: { headers: { authorization: 'b' } } }, 'm');
  expect(JSON.stringify(lines())).not.toMatch(/"[ab]"/);
});

it('says once what an error quotes of its cause, and what its causes say beyond that', () => {
  const { lines, stream } = collect();
  const socket = new Error('connect ECONNREFUSED 127.0.0.1:1');
  const network = new Error('nothing listens at 127.0.0.1:1', { cause: socket });
  const quoted = new Error('The upstream was not reached: nothing listens at 127.0.0.1:1', {
    cause: network,
  });
  socket.cause = quoted;
  createLogger('DEBUG', stream).warn({ err: quoted });
  expect(lines()[0]?.['err']).toMatchObject({ message: `${quoted.message}: ${socket.message}` });
});

it('takes known secrets out of every text of a line, also of errors and their causes, and leaves it valid', () => {
  const { text, lines, stream } = collect();
  const secrets = new KnownSecrets();
  const secret = '1b"k\\ey\n4f9a1c2d3e5b6a79';
  secrets.add(secret);
  const logger = createLogger('TRACE', stream, secrets);
  const cause = new Error(`the server said ${secret}`);
  const error = Object.assign(new Error(`failed with ${secret}`, { cause }), {
    headers: { 'x-any': secret },
  });
  logger.child({ bound: secret }).error({ err: error, deep: { list: [`a${secret}b`] } }, `it was ${secret}`);
  logger.trace(`\u001b${secret.slice(2)}\\`);
  expect(lines()).toHaveLength(2);
  expect(lines()[0]).toMatchObject({
    level: 'error',
    bound: '[secret]',
    deep: { list: ['a[secret]b'] },
    msg: 'it was [secret]',
    err: { headers: { 'x-any': '[secret]' } },
  });
  expect(text()).not.toContain('4f9a1c2d');
});

it('escapes what a terminal obeys and what is invisible', () => {
  const { text, lines, stream } = collect();
  const said = '\u009b31m \u202e \u2028 \u{e0041} \u007f \ufeff ü 👍';
  createLogger('INFO', stream).info({ 'na\u202eme': said }, said);
  expect(text()).toMatch(/^[ -~]*[^\p{C}]*\n$/u);
  expect(lines()[0]).toMatchObject({ 'na\u202eme': said, msg: said });
  expect(text()).toContain('ü 👍');
});

it('cuts long texts from outside, and leaves out a line that is long in any case', () => {
  const { lines, stream } = collect();
  const logger = createLogger('DEBUG', stream);
  const long = 'x'.repeat(10_000_000);
  logger.info({ model: long, err: new Error(long) }, 'cut');
  logger.warn({ names: Array.from({ length: 100_000 }, (_, index) => `name${index}`) }, 'left out');
  logger.info('short');
  expect(lines()).toMatchObject([
    { level: 'info', msg: 'cut', model: `${'x'.repeat(4_000)}…` },
    { level: 'warn', msg: expect.stringMatching(/^a line of \d{7} characters was left out$/) },
    { msg: 'short' },
  ]);
  expect(JSON.stringify(lines()).length).toBeLessThan(20_000);
});

it('leaves nothing of a secret in a line that is shortened, wherever that cuts', () => {
  const { text, lines, stream } = collect();
  const secrets = new KnownSecrets();
  secrets.add('9f8e7d6c5b4a39281706');
  const logger = createLogger('INFO', stream, secrets);
  for (let before = 3_975; before <= 4_000; before += 1) {
    const said = `${'x '.repeat(before / 2).padEnd(before)}9f8e7d6c5b4a39281706 ${'y '.repeat(20_000)}`;
    logger.info({ said }, 'long');
  }
  expect(lines()).toHaveLength(26);
  expect(text()).toContain('[secret]');
  expect(text()).not.toContain('9f8e');
});

it('gives the log of the steps at DEBUG only, so that nothing is made for it otherwise', () => {
  const { lines, stream } = collect();
  const never = (): object => {
    throw new Error('made for nothing');
  };
  debugLog(createLogger('INFO', stream).child({ a: 1 }))?.debug(never(), 'x');
  debugLog(createLogger('DEBUG', stream).child({ a: 1 }))?.debug({ b: 2 }, 'y');
  expect(lines()).toMatchObject([{ level: 'debug', a: 1, b: 2, msg: 'y' }]);
});

it('shows where in the code an error arose only where the program is at fault, or for developers', () => {
  const error = Object.assign(new Error('the disk is away'), { code: 'EIO' });
  const linesAt = (level: string) => {
    const lines: string[] = [];
    const logger = createLogger(level, { write: (line) => void lines.push(line) });
    logger.warn({ err: error }, 'one');
    logger.error({ err: error }, 'two');
    return lines.map((line) => (JSON.parse(line) as { err: Record<string, unknown> }).err);
  };
  const [warned, failed] = linesAt('INFO');
  expect(warned).toEqual({ type: 'Error', message: 'the disk is away', code: 'EIO' });
  expect(failed).toMatchObject({
    message: 'the disk is away',
    stack: expect.stringContaining('logger.test'),
  });
  expect(linesAt('DEBUG')[0]).toHaveProperty('stack');
});

it('writes a line of its own as it writes any, and searches what came from outside', () => {
  const { lines, stream } = collect();
  const secrets = new KnownSecrets();
  secrets.add('4f9a1c2d3e5b6a79-a-key');
  const logger = createLogger('INFO', stream, secrets).child({ service: 'gateway' });
  const fields = { model: 'm "\u001b', left: undefined, usage: { inputTokens: 1 } };
  logger.info(fields, 'turn');
  logOwn(logger, fields, 'turn', [fields.model]);
  const model = 'my-4f9a1c2d3e5b6a79-a-key';
  logOwn(logger, { model }, 'turn', [model]);
  logOwn(createLogger('WARNING', stream, secrets), fields, 'turn', []);
  const [usual, own, clean, ...more] = lines();
  expect({ ...own, time: usual?.['time'] }).toEqual(usual);
  expect(clean?.['model']).not.toContain('4f9a1c2d');
  expect(more).toEqual([]);
});

it('makes a line of its own when its batch is written, with the time it was logged at, and cleans it then', () => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
  onTestFinished(() => void vi.useRealTimers());
  const written: string[] = [];
  const lines = gatherLines({ write: (text) => written.push(text), isWritable: true });
  const secrets = new KnownSecrets();
  secrets.add('4f9a1c2d3e5b6a79-a-key');
  const logger = createLogger('INFO', lines, secrets);
  logger.info('begun');
  vi.advanceTimersByTime(20);
  const model = 'my-4f9a1c2d3e5b6a79-a-key';
  logOwn(logger, { model, sign: '\u001b' }, 'turn', [model]);
  expect(written).toHaveLength(1);
  vi.advanceTimersByTime(30);
  expect(JSON.parse(written[1] ?? '')).toMatchObject({ time: '2023-11-14T22:13:20.020Z', msg: 'turn' });
  expect(written[1]).not.toContain('4f9a1c2d');
  expect(written[1]).not.toContain('\u001b');
});

test('the first occurrence is reported immediately, those of the next minute together with the one after it', () => {
  let now = 0;
  const reports: unknown[] = [];
  const report = onceAMinute({ monotonic: () => now }, (count, reason: string) =>
    reports.push([count, reason]),
  );
  report('first');
  now = 59_999;
  report('second');
  expect(reports).toEqual([[1, 'first']]);
  now = 60_000;
  report('third');
  expect(reports).toEqual([
    [1, 'first'],
    [2, 'third'],
  ]);
});
