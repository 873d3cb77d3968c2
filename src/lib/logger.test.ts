import { Writable } from 'node:stream';
import { expect, it } from 'vitest';
import { createHttpServer } from './http-server.ts';
import { createLogger } from './logger.ts';

function collect(): { lines: () => Record<string, unknown>[]; stream: Writable } {
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
  return { lines, stream };
}

it('logs no empty line when a server listens', async () => {
  const { lines, stream } = collect();
  const logger = createLogger('DEBUG', stream);
  const server = createHttpServer({
    logger,
    bodyLimitBytes: 1000,
    callers: { allowedHosts: [], keysSetting: 'API_KEYS' },
    access: {},
    encodeUnreadable: String,
    adviseOnPath: String,
  });
  await server.listen({ host: '127.0.0.1', port: 0, listenTextResolver: () => '' });
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
