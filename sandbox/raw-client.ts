// A tiny client of the wire for the tests: no schema and no library, so that it shares no code with what it tests.
import http from 'node:http';

type FieldValue = string | number | Uint8Array;
/** Field number and value: a number travels as varint, all else length-delimited. */
export type Field = readonly [number, FieldValue];

export function encode(...fields: Field[]): Buffer {
  return Buffer.concat(
    fields.map(([no, value]) => {
      if (typeof value === 'number') return Buffer.concat([varint(no << 3), varint(value)]);
      const content = Buffer.from(value as Uint8Array);
      return Buffer.concat([varint((no << 3) | 2), varint(content.length), content]);
    }),
  );
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** A message as its fields in wire order. Throws where the bytes are no message. */
export function decode(bytes: Buffer): { no: number; value: Buffer; number: number }[] {
  const fields: { no: number; value: Buffer; number: number }[] = [];
  let at = 0;
  const readVarint = (): number => {
    let result = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error('cut varint');
      result += (byte & 0x7f) * scale;
      if (byte < 0x80) return result;
    }
  };
  while (at < bytes.length) {
    const tag = readVarint();
    const no = Math.floor(tag / 8);
    const kind = tag % 8;
    if (kind === 0) fields.push({ no, value: Buffer.alloc(0), number: readVarint() });
    else {
      const length = kind === 2 ? readVarint() : kind === 5 ? 4 : kind === 1 ? 8 : -1;
      if (length < 0 || at + length > bytes.length) throw new Error(`bad field ${no}`);
      fields.push({ no, value: bytes.subarray(at, at + length), number: Number.NaN });
      at += length;
    }
  }
  return fields;
}

/** The content at a path of field numbers: the first match at each step. */
export function at(bytes: Buffer, ...path: number[]): Buffer | undefined {
  return path.reduce<Buffer | undefined>(
    (inner, no) => (inner ? decode(inner).find((field) => field.no === no)?.value : undefined),
    bytes,
  );
}

export interface RequestParts {
  query?: string;
  model?: string;
  conversationId?: string;
  /** Encoded Task messages, as accumulated. */
  tasks?: Buffer[];
  tools?: string[];
  serverId?: string;
  /** Tool call id and text. */
  results?: [string, string][];
  supportedTools?: Buffer;
  parallel?: boolean;
}

const serverId = '7f2b1c9e-1111-4222-8333-444455556666';

export function chatRequest(parts: RequestParts = {}): Buffer {
  const { query = 'Hello', model = 'sandbox', conversationId, tasks = [], tools, results = [] } = parts;
  const inputs = results.map(([id, text]): Field => {
    const success = encode([1, encode([1, encode([1, encode([1, text])])])]);
    return [1, encode([2, encode([1, id], [12, success])])];
  });
  if (query) inputs.push([1, encode([1, encode([1, query])])]);
  const tool = (name: string): Field => [4, encode([1, name], [3, Buffer.alloc(0)])];
  const server = tools && encode([1, 'client'], ...tools.map(tool), [5, parts.serverId ?? serverId]);
  return encode(
    [1, encode(...tasks.map((task): Field => [1, task]))],
    [2, encode(...(inputs.length > 0 ? [[6, encode(...inputs)] as Field] : []))],
    [
      3,
      encode(
        [1, encode([1, model])],
        [4, parts.parallel === false ? 0 : 1],
        [9, parts.supportedTools ?? Buffer.from([9])],
        [17, 1],
      ),
    ],
    [4, encode(...(conversationId ? [[1, conversationId] as Field] : []))],
    ...(server ? [[6, encode([3, server])] as Field] : []),
  );
}

export interface RawAnswer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: string;
  /** True when the connection broke before the body's end. */
  isCut: boolean;
}

export interface SendOptions {
  path?: string;
  method?: string;
  bearer?: string;
  headers?: http.OutgoingHttpHeaders;
  /** Called with every piece as it arrives, and the body so far; return `leave` to close the connection. */
  onChunk?: (chunk: string, body: string) => 'leave' | undefined;
  signal?: AbortSignal;
}

export function send(url: string, body: Buffer | string, options: SendOptions = {}): Promise<RawAnswer> {
  const { path = '/ai/multi-agent', method = 'POST', bearer = 'wk-test', headers = {}, signal } = options;
  return new Promise((resolve, reject) => {
    const request = http.request(
      new URL(path, url),
      {
        method,
        agent: false,
        ...(signal ? { signal } : {}),
        headers: {
          'content-type': 'application/x-protobuf',
          accept: 'text/event-stream',
          ...(bearer ? { authorization: `Bearer ${bearer}` } : {}),
          ...headers,
        },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
          if (options.onChunk?.(chunk, text) === 'leave') request.destroy();
        });
        response.on('error', () => undefined);
        response.on('close', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: text,
            isCut: !response.complete,
          }),
        );
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

/** The events of an SSE body as protobuf bytes, by the rules of the wire. Throws on an unreadable payload. */
export function eventsOf(body: string): Buffer[] {
  return body
    .split(/\r?\n/)
    .filter((line) => line.startsWith('data:'))
    .map((line) =>
      line
        .slice('data:'.length)
        .trim()
        .replace(/^"+|"+$/g, ''),
    )
    .map((payload) => {
      if (!/^[A-Za-z0-9_-]+={0,2}$/.test(payload) || payload.length % 4 !== 0)
        throw new Error('not base64url');
      const bytes = Buffer.from(payload, 'base64url');
      decode(bytes);
      return bytes;
    });
}

/** What a client holds after a stream: tasks as raw field lists, and the texts of the root task. */
export interface Held {
  conversationId: string;
  tasks: Buffer[];
  texts: string[];
  toolCallIds: string[];
  /** Field number of the reason, or undefined without StreamFinished. */
  reason: number | undefined;
  finished: Buffer | undefined;
}

interface HeldMessage {
  id: string;
  /** The message as first sent, its text left as it was then. */
  bytes: Buffer;
  text: string | undefined;
}

/** Understands create_task, add_messages, append to and update of agent text, server data; no transactions.
 *  `before` are the tasks the request carried: their messages are kept as they are. */
export function hold(events: Buffer[], before: Buffer[] = []): Held {
  const tasks = new Map<string, { head: Field[]; serverData: Buffer | undefined; messages: HeldMessage[] }>();
  const message = (bytes: Buffer): HeldMessage => ({
    id: String(at(bytes, 1)),
    bytes,
    text: at(bytes, 3) ? String(at(bytes, 3, 1) ?? '') : undefined,
  });
  const create = (bytes: Buffer): void => {
    const fields = decode(bytes);
    const head = fields.filter(({ no }) => no !== 5 && no !== 8).map(({ no, value }): Field => [no, value]);
    const messages = fields.filter(({ no }) => no === 5).map(({ value }) => message(value));
    tasks.set(String(at(bytes, 1)), { head, serverData: at(bytes, 8), messages });
  };
  before.forEach(create);
  const patch = (bytes: Buffer, edit: (old: string, given: string) => string): void => {
    const target = tasks.get(String(at(bytes, 3)))?.messages.find(({ id }) => id === String(at(bytes, 1, 1)));
    if (target && String(at(bytes, 2, 1)) === 'agent_output.text') {
      target.text = edit(target.text ?? '', String(at(bytes, 1, 3, 1)));
    }
  };
  for (const { no, value } of events.flatMap((event) => decode(at(event, 2) ?? Buffer.alloc(0)))) {
    if (no !== 1) continue;
    const [action] = decode(value);
    if (action?.no === 1) create(at(action.value, 1) ?? Buffer.alloc(0));
    if (action?.no === 3) {
      const added = decode(action.value).filter((field) => field.no === 2);
      tasks.get(String(at(action.value, 1)))?.messages.push(...added.map((field) => message(field.value)));
    }
    if (action?.no === 4) patch(action.value, (_old, given) => given);
    if (action?.no === 5) patch(action.value, (old, given) => old + given);
    const task = action?.no === 13 ? tasks.get(String(at(action.value, 1))) : undefined;
    if (task && action) task.serverData = at(action.value, 2);
  }
  const finished = events.map((event) => at(event, 3)).find((bytes) => bytes !== undefined);
  const [root] = tasks.values();
  const added = root?.messages ?? [];
  return {
    conversationId: events.map((event) => at(event, 1, 1)).join(''),
    tasks: [...tasks.values()].map(({ head, serverData, messages }) =>
      encode(
        ...head,
        ...messages.map((one): Field => [5, withText(one)]),
        ...(serverData ? [[8, serverData] as Field] : []),
      ),
    ),
    texts: added.flatMap((one) => (one.text === undefined ? [] : [one.text])),
    toolCallIds: added.flatMap((one) => (at(one.bytes, 4, 12) ? [String(at(one.bytes, 4, 1))] : [])),
    reason: finished && decode(finished).find(({ no }) => no <= 7 || no === 12)?.no,
    finished,
  };
}

function withText({ bytes, text }: HeldMessage): Buffer {
  const fields = decode(bytes).map(({ no, value, number }): Field => {
    if (no !== 3 || text === undefined) return [no, Number.isNaN(number) ? value : number];
    const others = decode(value).filter((field) => field.no !== 1);
    return [3, encode([1, text], ...others.map((field): Field => [field.no, field.value]))];
  });
  return encode(...fields);
}

/** The body of a GraphQL call that asks for these fields of a `UserOutput`. */
export function graphqlBody(op: string, fields: string): string {
  const query = `query ${op}($requestContext: RequestContext!) {
    user(requestContext: $requestContext) { __typename ... on UserOutput { ${fields} } }
  }`;
  return JSON.stringify({ query, operationName: op, variables: { requestContext: {} } });
}
