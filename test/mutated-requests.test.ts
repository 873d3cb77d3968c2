import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clientBodies } from './support/client-bodies.ts';
import { dialectClients } from './support/dialects.ts';
import { startTestServices, type TestServices } from './support/services.ts';
import type { Dialect } from './support/stream-grammar.ts';

const dialects = Object.keys(clientBodies) as Dialect[];

let services: TestServices;
beforeAll(async () => {
  services = await startTestServices();
  await services.addAccount('wk-1.good');
});
afterAll(() => services.close());

type Path = readonly (string | number)[];

/** Every place in a body, the body itself left out. */
function placesIn(value: unknown, at: Path = []): Path[] {
  const inner: readonly (readonly [string | number, unknown])[] = Array.isArray(value)
    ? value.map((item, index) => [index, item] as const)
    : typeof value === 'object' && value !== null
      ? Object.entries(value)
      : [];
  return [...(at.length === 0 ? [] : [at]), ...inner.flatMap(([key, item]) => placesIn(item, [...at, key]))];
}

const deep = (depth: number): unknown => {
  let value: unknown = 1;
  for (let level = 0; level < depth; level += 1) value = level % 2 === 0 ? [value] : { a: value };
  return value;
};

const junk = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    0,
    -1,
    0.5,
    1e308,
    2 ** 53,
    '',
    ' ',
    [],
    {},
    [null],
    [[]],
    [{}],
    {
      type: 'text',
    },
  ),
  fc.constantFrom<unknown>(
    '\ud800',
    '\udc00x',
    '\0',
    '__proto__',
    'constructor',
    'data:image/png;base64,',
    'x'.repeat(5_000),
  ),
  // Three of them inside one another stay below the depth that a body may have.
  fc.constantFrom<unknown>(deep(20), deep(160), { ['__proto__x']: { toString: 1 } }),
  fc.jsonValue({ maxDepth: 2 }),
);

type Change = {
  readonly place: number;
  readonly how: 'replace' | 'remove' | 'twice' | 'wrap' | 'add' | 'text';
  readonly junk: unknown;
};
const anyChange: fc.Arbitrary<Change> = fc.record({
  place: fc.nat(),
  how: fc.constantFrom<Change['how']>('replace', 'replace', 'remove', 'twice', 'wrap', 'add', 'text'),
  junk,
});

function changed(body: Record<string, unknown>, changes: readonly Change[]): Record<string, unknown> {
  const copy = structuredClone(body);
  for (const { place, how, junk: given } of changes) {
    const value = structuredClone(given);
    const places = placesIn(copy);
    const path = places[place % places.length];
    const key = path?.at(-1);
    if (path === undefined || key === undefined) continue;
    const holder = path.slice(0, -1).reduce<unknown>((inner, step) => (inner as never)[step], copy) as Record<
      string | number,
      unknown
    >;
    const old = holder[key];
    if (how === 'replace') holder[key] = value;
    else if (how === 'wrap') holder[key] = [old];
    else if (how === 'text') holder[key] = JSON.stringify(old);
    else if (how === 'add' && typeof old === 'object' && old !== null)
      (old as Record<string, unknown>)['unheard_of'] = value;
    else if (how === 'twice' && Array.isArray(holder)) holder.push(old);
    else if (how === 'remove') {
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else delete holder[key];
    }
  }
  return copy;
}

/** The field a refusal names is one the client sent, or one that is missing in a place the client sent. */
function isIn(body: unknown, param: string): boolean {
  const steps = param.split('.');
  let value = body;
  for (const [index, step] of steps.entries()) {
    if (typeof value !== 'object' || value === null) return false;
    if (index === steps.length - 1) return true;
    if (!Object.hasOwn(value, step)) {
      // A name with dots of its own, such as a key of a schema.
      return Object.keys(value).some((key) => key.includes('.'));
    }
    value = (value as Record<string, unknown>)[step];
  }
  return true;
}

async function send(dialect: Dialect, text: string): Promise<{ status: number; type: string; body: string }> {
  const { path, headers } = dialectClients[dialect];
  const answer = await fetch(services.gatewayUrl + path('sandbox', true), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: text,
    signal: AbortSignal.timeout(60_000),
  });
  const type = answer.headers.get('content-type') ?? '';
  return { status: answer.status, type, body: await answer.text() };
}

interface RefusalFields {
  readonly param?: string | null;
  /** Gemini's. */
  readonly details?: readonly { readonly fieldViolations?: readonly { readonly field: string }[] }[];
}

function paramIn({ param, details = [] }: RefusalFields): string | null | undefined {
  return param ?? details.find(({ fieldViolations }) => fieldViolations)?.fieldViolations?.[0]?.field;
}

/** A good answer is well-formed, a refusal has the dialect's shape and is nobody's fault but the request's. */
function judge(
  dialect: Dialect,
  sent: unknown,
  { status, type, body }: Awaited<ReturnType<typeof send>>,
): void {
  const client = dialectClients[dialect];
  if (status === 200) {
    const answer = type.startsWith('text/event-stream') ? client.readStream(body) : client.readAnswer(body);
    expect(answer.end).not.toBe('error');
    return;
  }
  expect(type).toMatch(/^application\/json/);
  const fields = JSON.parse(body) as Record<string, unknown>;
  const { code, message } = client.readError(fields);
  // A model that does not keep to a format or a demanded tool is the one fault that is not the request's.
  if (/^The model did not/.test(message)) return;
  expect([400, 404], `${status} ${body}`).toContain(status);
  expect(code).not.toBe('internal_error');
  const param = paramIn(fields['error'] as RefusalFields);
  if (status === 400 && dialect !== 'messages') {
    expect(typeof param === 'string' && (param === 'body' || isIn(sent, param)), `${param}: ${body}`).toBe(
      true,
    );
    expect(message).not.toBe('');
  }
}

describe.each(dialects)('a request of %s', (dialect) => {
  it.each(clientBodies[dialect].map((_, index) => [index]))(
    'is answered as clients send it (%i)',
    async (index) => {
      const body = clientBodies[dialect][index];
      const answer = await send(dialect, JSON.stringify(body));
      expect(answer.status, answer.body).toBe(200);
      judge(dialect, body, answer);
    },
  );

  it('is answered or refused in its own words, whatever is wrong with it', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(clientBodies[dialect].length - 1),
        fc.array(anyChange, { minLength: 1, maxLength: 3 }),
        async (index, changes) => {
          const body = changed(clientBodies[dialect][index] ?? {}, changes);
          judge(dialect, body, await send(dialect, JSON.stringify(body)));
        },
      ),
      { numRuns: 120 },
    );
    const faults = services
      .log()
      .split('\n')
      .filter((line) => line.includes('"level":"error"'));
    expect(faults).toEqual([]);
  });

  it('is refused in its own words when it is no JSON or no object', async () => {
    const whole = JSON.stringify(clientBodies[dialect][1]);
    for (const text of [
      '',
      'null',
      '[]',
      '"x"',
      '7',
      whole.slice(0, -1),
      `${whole}}`,
      whole.replace(':', ';'),
    ]) {
      const answer = await send(dialect, text);
      expect([answer.status, text]).toEqual([400, text]);
      dialectClients[dialect].readError(JSON.parse(answer.body) as Record<string, unknown>);
    }
  });
});
