import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { keys, unseen, useAttackedServices, withKeys } from './attacked-services.ts';
import { headOf, sendRaw, statusesIn, untilItEnds } from './raw-connection.ts';

/** Bytes that are no good HTTP, or that two readers could take for different requests. */

const services = useAttackedServices(withKeys);
const both = ['pool', 'gateway'] as const;
const urlOf = (name: (typeof both)[number]): string =>
  name === 'pool' ? services.poolUrl : services.gatewayUrl;

const smuggled = `GET /metrics HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${keys.admin}\r\n\r\n`;

async function exchange(
  url: string,
  head: string,
  body: string,
  limits: { readonly limitMs?: number; readonly quietMs?: number } = { limitMs: 1_500 },
): Promise<ReturnType<typeof sendRaw>> {
  const host = `host: ${new URL(url).host}\r\n`;
  return sendRaw({ url, parts: [head.replace('HOST\r\n', host), body], isEnough: untilItEnds, ...limits });
}

describe('a request with two lengths or none that holds', () => {
  const length = String(smuggled.length);
  const shapes: Readonly<Record<string, string>> = {
    'a length and chunks': `content-length: ${length}\r\ntransfer-encoding: chunked\r\n`,
    'chunks and a length': `transfer-encoding: chunked\r\ncontent-length: ${length}\r\n`,
    'two lengths': `content-length: 0\r\ncontent-length: ${length}\r\n`,
    'a list of lengths': `content-length: 0, ${length}\r\n`,
    'a signed length': `content-length: +${length}\r\n`,
    'a negative length': 'content-length: -1\r\n',
    'a hexadecimal length': 'content-length: 0x5\r\n',
    'a length with a fraction': 'content-length: 5.0\r\n',
    'a huge length': `content-length: ${'9'.repeat(30)}\r\n`,
    'a length behind a space': `content-length : ${length}\r\n`,
    'a folded length': `x: y\r\n content-length: ${length}\r\n`,
    'an odd coding': 'transfer-encoding: xchunked\r\n',
    'chunks that are not last': 'transfer-encoding: chunked, identity\r\n',
    'chunks twice': 'transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n',
    'a coding behind a tab': `transfer-encoding:\tchunked\r\ncontent-length: ${length}\r\n`,
    'a coding behind a vertical tab': `transfer-encoding: \x0bchunked\r\ncontent-length: ${length}\r\n`,
    'a name with a NUL': `content-length\0: ${length}\r\n`,
    'lines that end in LF': `x: y\ncontent-length: ${length}\n`,
    'a lone CR': `x: y\rcontent-length: ${length}\r\n`,
  };

  it.each(Object.keys(shapes))('is not taken for more than one: %s', async (shape) => {
    for (const service of both) {
      for (const line of ['POST /nope', 'GET /health', 'POST /health']) {
        const head = `${line} HTTP/1.1\r\nHOST\r\n${shapes[shape]}\r\n`;
        const { statuses, text } = await exchange(urlOf(service), head, `0\r\n\r\n${smuggled}`);
        expect(text).not.toContain('# HELP');
        expect([shape, line, statuses.length <= 1, statuses.every((status) => status < 500)]).toEqual([
          shape,
          line,
          true,
          true,
        ]);
      }
    }
  });

  it('has its body skipped, and never read as the next request', async () => {
    const lines = [
      'POST /nope',
      'POST /health',
      'GET /health',
      'GET /metrics',
      'DELETE /docs',
      'FOO /health',
    ];
    const answers = both.flatMap((service) =>
      lines.map(async (line) => {
        const head = `${line} HTTP/1.1\r\nHOST\r\ncontent-length: ${length}\r\n\r\n`;
        const { statuses, text } = await exchange(urlOf(service), head, smuggled, { quietMs: 1_000 });
        return [line, statuses.length, text.includes('# HELP')];
      }),
    );
    expect(await Promise.all(answers)).toEqual([...lines, ...lines].map((line) => [line, 1, false]));
  });

  it('in chunks that are not well formed is refused', async () => {
    const chunks = [
      'zz\r\n',
      '-1\r\n',
      '5\r\n12345',
      '5;'.repeat(10_000),
      'ffffffffffffffffff\r\n',
      '0\r\nx\r\n\r\n',
    ];
    for (const chunk of chunks) {
      const key = `authorization: Bearer ${keys.client}\r\n`;
      const head = `POST /v1/messages HTTP/1.1\r\nHOST\r\n${key}transfer-encoding: chunked\r\n\r\n`;
      const { statuses } = await exchange(services.gatewayUrl, head, `${chunk}${smuggled}`);
      expect([chunk.slice(0, 10), statuses.filter((status) => status < 400)]).toEqual([
        chunk.slice(0, 10),
        [],
      ]);
    }
  });
});

describe('what is no HTTP', () => {
  it('is answered as such or cut, and never waited for in vain', async () => {
    const nonsense = [
      '\0'.repeat(1_000),
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'GET\r\n\r\n',
      'GET / HTTP/9.9\r\n\r\n',
      'GET / HTTP/0.9\r\n\r\n',
      `GET /${'x'.repeat(100_000)} HTTP/1.1\r\nhost: x\r\n\r\n`,
      `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`,
      `GET / HTTP/1.1\r\nhost: x\r\n${'a: b\r\n'.repeat(50_000)}\r\n`,
      `GET / HTTP/1.1\r\nhost: x\r\n${'x'.repeat(50_000)}`,
      'GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n',
      'GET / HTTP/1.1\r\n\r\n',
      '{"jsonrpc": "2.0"}\n',
      '*1\r\n$4\r\nINFO\r\n',
    ];
    for (const service of both) {
      for (const bytes of nonsense) {
        const { statuses } = await sendRaw({ url: urlOf(service), parts: [bytes], limitMs: 5_000 });
        const isRefused = statuses.every((status) => status >= 400 && status < 500);
        expect([bytes.slice(0, 40), statuses, isRefused]).toEqual([bytes.slice(0, 40), statuses, true]);
      }
    }
  });

  it('many headers, parameters and levels of a path cost little', async () => {
    const before = services.cost();
    const url = services.gatewayUrl;
    const { host } = new URL(url);
    for (let times = 0; times < 50; times += 1) {
      const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`x${index}`, '1']));
      const targets = [
        `/${'a/'.repeat(6_000)}`,
        `/v1/models?${'key=x&'.repeat(2_000)}`,
        `/v1/models/${'%25'.repeat(4_000)}`,
        `/v1/responses/${'x'.repeat(12_000)}`,
      ];
      for (const target of targets) await sendRaw({ url, parts: [headOf(`GET ${target}`, { host })] });
      await sendRaw({ url, parts: [headOf('GET /health', { host, ...many })] });
      await sendRaw({
        url,
        parts: [headOf('GET /v1/models', { host, authorization: 'Bearer '.repeat(1_500) })],
      });
      await sendRaw({ url, parts: [headOf('GET /v1/models', { host, 'x-api-key': 'k,'.repeat(7_000) })] });
    }
    // 350 requests; quadratic work over 14 kB would be many seconds.
    expect(services.cost().cpuMs - before.cpuMs).toBeLessThan(6_000);
  });
});

describe('text that a terminal obeys', () => {
  it('is nowhere repeated as it came', async () => {
    const bad = ['\x1b]0;x\x07', '\x9b31m', '\xc2\x9b31m', '\xe2\x80\xae', '\xe2\x80\xa8', '\xef\xbb\xbf'];
    for (const service of both) {
      const url = urlOf(service);
      const { host } = new URL(url);
      for (const text of bad) {
        const encoded = [...text]
          .map((letter) => `%${letter.charCodeAt(0).toString(16).padStart(2, '0')}`)
          .join('');
        const heads = [
          headOf(`GET /${encoded}`, { host }),
          headOf(`GET /v1/models/${encoded}`, { host, authorization: `Bearer ${keys.client}` }),
          headOf(`GET /api/accounts/${encoded}`, { host, authorization: `Bearer ${keys.admin}` }),
          headOf(`GET /api/accounts?begins=${encoded}&${encoded}=1`, {
            host,
            authorization: `Bearer ${keys.admin}`,
          }),
          headOf('GET /nope', { host, 'x-request-id': text, 'user-agent': text }),
          headOf('GET /nope', { host: `${host}${text}` }),
          headOf('GET /nope', { host, 'x-forwarded-host': text, origin: `http://${text}` }),
          headOf(`GET /${text}`, { host }),
          headOf(`${text} /`, { host }),
        ];
        for (const head of heads) {
          const answer = await sendRaw({ url, parts: [head], limitMs: 3_000 });
          const read = Buffer.from(answer.text, 'latin1').toString().replaceAll('\r\n', '');
          expect([JSON.stringify(head), unseen.exec(read)]).toEqual([JSON.stringify(head), null]);
        }
      }
    }
  });
});

describe('an offer to upgrade', () => {
  const handshake = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
  };
  const withKey = { authorization: `Bearer ${keys.client}` };

  it('to a WebSocket without the right key is refused, whatever its form', async () => {
    const forms: readonly (readonly [line: string, headers: Readonly<Record<string, string>>])[] = [
      ['GET /v1/responses', handshake],
      ['GET /v1/responses', { ...handshake, authorization: 'Bearer wrong' }],
      ['GET /v1/responses', { ...handshake, authorization: `Bearer ${keys.admin}` }],
      [
        'GET /v1/responses',
        { ...handshake, 'sec-websocket-protocol': `openai-insecure-api-key.${keys.pool}` },
      ],
      ['GET //v1//responses/', handshake],
      ['GET http://elsewhere/v1/responses', handshake],
      ['GET /v1/responses?api_key=x', handshake],
      ['GET /health', handshake],
      ['GET /nope', handshake],
      ['POST /v1/responses', handshake],
      ['GET /v1/responses', { ...handshake, upgrade: 'WebSocket, h2c' }],
      ['GET /v1/responses', { ...handshake, upgrade: 'h2c' }],
      ['GET /v1/responses', { ...handshake, 'content-length': '100' }],
    ];
    for (const [line, headers] of forms) {
      const { host } = new URL(services.gatewayUrl);
      const { statuses } = await sendRaw({
        url: services.gatewayUrl,
        parts: [headOf(line, { host, ...headers })],
      });
      expect([line, statuses, statuses[0] === 101]).toEqual([line, statuses, false]);
      expect(statuses.every((status) => status < 500)).toBe(true);
    }
  });

  it('with a key and a broken handshake is refused', async () => {
    const broken: readonly Readonly<Record<string, string>>[] = [
      { 'sec-websocket-version': '99' },
      { 'sec-websocket-key': 'short' },
      { 'sec-websocket-key': '' },
    ];
    for (const change of broken) {
      const { host } = new URL(services.gatewayUrl);
      const { statuses } = await sendRaw({
        url: services.gatewayUrl,
        parts: [headOf('GET /v1/responses', { host, ...handshake, ...withKey, ...change })],
      });
      expect([change, statuses, (statuses[0] ?? 400) >= 400 && (statuses[0] ?? 400) < 500]).toEqual([
        change,
        statuses,
        true,
      ]);
    }
  });

  it('to the pool is not taken', async () => {
    const { host } = new URL(services.poolUrl);
    const { statuses } = await sendRaw({
      url: services.poolUrl,
      parts: [headOf('GET /api/events', { host, ...handshake })],
    });
    expect(statuses).toEqual([401]);
  });
});

describe('frames of a WebSocket that break its rules', () => {
  const handshake = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    authorization: `Bearer ${keys.client}`,
  };
  const masked = (first: number, length: string, text = ''): string =>
    `${String.fromCharCode(first)}${length}\0\0\0\0${text}`;
  const short = (text: string): string => String.fromCharCode(0x80 | text.length);
  const frames: Readonly<Record<string, string>> = {
    'not masked': '\x81\x02hi',
    'of reserved bits': masked(0xf1, short('hi'), 'hi'),
    'of an unknown kind': masked(0x8f, short('hi'), 'hi'),
    'of a huge length': masked(0x81, `\xff${'\x7f'.repeat(8)}`),
    'of a length of 33 MB': masked(0x81, `\xff\0\0\0\0\x02\x10\0\0`),
    'that begin in the middle': masked(0x80, short('hi'), 'hi'),
    'of a ping in parts': masked(0x09, short('hi'), 'hi'),
    'of a ping that is too long': masked(0x89, '\xfe\x01\0', 'x'.repeat(256)),
    'of a close with a code that is none': masked(0x88, short('xx'), '\0\x01'),
    'of text that is no UTF-8': masked(0x81, short('\xff\xfe'), '\xff\xfe'),
    'of bytes': masked(0x82, short('hi'), 'hi'),
    'of no JSON': masked(0x81, short('hi'), 'hi'),
    'of an empty text': masked(0x81, short('')),
    'of noise': '\x13\x37'.repeat(1_000),
  };

  it.each(Object.keys(frames))('harm no one: %s', async (name) => {
    const { host } = new URL(services.gatewayUrl);
    const { statuses } = await sendRaw({
      url: services.gatewayUrl,
      parts: [headOf('GET /v1/responses', { host, ...handshake }), frames[name] ?? ''],
      isEnough: untilItEnds,
      quietMs: 300,
    });
    expect(statuses).toEqual([101]);
    const health = await sendRaw({ url: services.gatewayUrl, parts: [headOf('GET /health', { host })] });
    expect(health.statuses).toEqual([200]);
  });
});

describe('a client that sends byte by byte', () => {
  it('keeps no other client waiting, many at a time', async () => {
    const url = services.gatewayUrl;
    const slow = Array.from({ length: 300 }, (_, index) =>
      sendRaw({
        url,
        parts: [index % 2 === 0 ? 'GET /health HT' : 'POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-le'],
        isEnough: untilItEnds,
        limitMs: 2_000,
      }),
    );
    const answers = [];
    for (let times = 0; times < 20; times += 1) {
      const { host } = new URL(url);
      answers.push(await sendRaw({ url, parts: [headOf('GET /health', { host })] }));
    }
    expect(answers.map(({ text }) => statusesIn(text)[0])).toEqual(Array.from({ length: 20 }, () => 200));
    await Promise.all(slow);
  });
});

describe('a client that takes no answer', () => {
  it('costs no copy of it, many at a time', async () => {
    const url = services.gatewayUrl;
    const { host, hostname, port } = new URL(url);
    await sendRaw({ url, parts: [headOf('GET /docs', { host })] });
    const before = services.cost();
    const readers = Array.from({ length: 300 }, () => connect(Number(port), hostname));
    for (const reader of readers) {
      reader.on('error', () => {}).pause();
      reader.write(headOf('GET /docs', { host }).repeat(8));
    }
    // The one that comes last is answered when all before it are.
    const last = await sendRaw({ url, parts: [headOf('GET /docs', { host })] });
    expect(last.statuses).toEqual([200]);
    const growthMb = services.cost().residentMb - before.residentMb;
    for (const reader of readers) reader.destroy();
    // Copies of the page, two thirds of a megabyte, would take 200 MB.
    expect(growthMb).toBeLessThan(120);
  });
});
