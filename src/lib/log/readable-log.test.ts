import { expect, it } from 'vitest';
import { KnownSecrets } from '../secrets/known-secrets.ts';
import { createLogger } from './logger.ts';
import { type LogFields, type ReadableOptions, readableLog } from './readable-log.ts';

const evil = '\u001b[2J\u009b31m\u202e\u2028\u{e0041}\u007f\r\n[12:00:00] INFO: forged';

function open(look: Partial<ReadableOptions> = {}, secrets?: KnownSecrets) {
  const lines: string[] = [];
  const output = {
    isWritable: true,
    write(line: string) {
      lines.push(line);
      return line.length;
    },
  };
  const options = {
    hasColors: false,
    hasDates: false,
    sentences: { turn: ({ model }: LogFields) => ({ text: `turn of ${model}`, rest: { model } }) },
    ...look,
  };
  return { lines, logger: createLogger('DEBUG', readableLog(output, options), secrets) };
}

const time = /^\[\d\d:\d\d:\d\d\] /;

it('shows time, level, message and fields on one line', () => {
  const { lines, logger } = open();
  logger
    .child({ service: 'pool' })
    .info({ url: 'http://a', none: undefined, two: 'b c', n: [1] }, 'it listens');
  expect(lines).toEqual([expect.stringMatching(time)]);
  expect(lines[0]?.replace(time, '')).toBe('INFO: it listens  service=pool url=http://a two="b c" n=[1]\n');
  const dated = open({ hasDates: true });
  dated.logger.warn('x');
  expect(dated.lines[0]).toMatch(/^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] WARN: x\n$/);
});

it('shows a stack where the program is at fault, indented, and else what an error says', () => {
  const { lines, logger } = open();
  logger.warn({ err: new Error('gone') }, 'trouble');
  logger.error({ err: new Error('broken\n[12:00:00] INFO: forged') }, 'a request failed');
  expect(lines[0]?.replace(time, '')).toBe('WARN: trouble  error=gone\n');
  const [first, ...more] = lines[1]?.trimEnd().split('\n') ?? [];
  expect(first).toMatch(/ERROR: a request failed$/);
  expect(more.join('\n')).toContain('readable-log.test.ts');
  expect(more.every((line) => line.startsWith('  '))).toBe(true);
});

it('says nothing that a terminal obeys, begins no line of its own, and tells no secret', () => {
  const secrets = new KnownSecrets();
  const secret = '1b"k\\ey\n4f9a1c2d3e5b6a79';
  secrets.add(secret);
  const { lines, logger } = open({}, secrets);
  const err = Object.assign(new Error(evil), { [evil]: evil, detail: secret });
  logger.info({ [evil]: evil, nested: { [evil]: [evil, secret] }, err }, `${evil} ${secret}`);
  logger.info({ model: evil, dialect: 'chat', status: 404, err, account_id: evil }, 'turn');
  logger.error({ err }, evil);
  const text = lines.join('');
  expect(text).toMatch(/^[\n -~]*$/);
  expect(text).toContain('\\u{202e}');
  expect(text.match(/^\[\d\d:\d\d:\d\d\] /gm)).toHaveLength(3);
  expect(text).not.toContain('4f9a1c2d');
});

it('has colours only where they are wanted', () => {
  const { lines, logger } = open({ hasColors: true });
  logger.warn({ url: 'x' }, 'seen');
  expect(lines[0]).toContain('\u001b[33mWARN\u001b[39m');
});

it('leaves a line alone that is no JSON object', () => {
  const lines: string[] = [];
  const output = { isWritable: false, write: (line: string) => lines.push(line) };
  const log = readableLog(output, { hasColors: false, hasDates: false, sentences: {} });
  log.write('plain words\n');
  expect(lines).toEqual(['plain words\n']);
  expect(log.isWritable).toBe(false);
});
