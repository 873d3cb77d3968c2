// What the simulated vendors share: the HTTP server, the log of requests, keys, and faults by model name or by order.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { type Fault, type FaultName, faultNames, playFault } from './faults.ts';
import { type Failure, reply, type SeenRequest, type Turn, type Vendor } from './vendor.ts';

export interface VendorOptions {
  /** False: a server on a person's own machine, that takes any key and none. */
  readonly needsKey?: boolean;
  /** In front of the paths. */
  readonly prefix?: string;
  /** How long the first content of a slow answer takes. */
  readonly slowMs?: number;
}

export interface VendorSandbox {
  /** With the path prefix that the vendor's base URL has. */
  readonly url: string;
  /** Turns, in the order they came. */
  readonly turns: SeenRequest[];
  /** All other requests. */
  readonly others: SeenRequest[];
  /** The next turns of this model go by these steps, one each, and all later ones by `then`. */
  script(model: string, steps: readonly Fault[], then?: Fault): void;
  /** Every answer is sent in pieces that end at these bytes; none: as it is made. */
  cutAt(bytes: readonly number[]): void;
  /** Slow answers have their first content now, and from now on. */
  hurry(): void;
  close(): Promise<void>;
}

/** Keys that hold such a word get this, whatever is asked. */
const refusedKeys: readonly (readonly [word: string, failure: Failure])[] = [
  ['bad', 'bad-key'],
  ['limited', 'rate-limited'],
  ['spent', 'quota'],
  ['broken', 'error'],
];

interface Script {
  readonly steps: Fault[];
  readonly then: Fault;
}

export class VendorServer implements VendorSandbox {
  readonly turns: SeenRequest[] = [];
  readonly others: SeenRequest[] = [];
  readonly #vendor: Vendor;
  readonly #options: VendorOptions;
  readonly #prefix: string;
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  readonly #scripts = new Map<string, Script>();
  readonly #counts = new Map<string, number>();
  readonly #hurried = Promise.withResolvers<void>();
  #cuts: readonly number[] = [];
  #url = '';

  private constructor(vendor: Vendor, options: VendorOptions) {
    this.#vendor = vendor;
    this.#options = options;
    this.#prefix = options.prefix ?? vendor.prefix;
  }

  static async start(vendor: Vendor, options: VendorOptions): Promise<VendorSandbox> {
    const running = new VendorServer(vendor, options);
    await new Promise<void>((resolve) => running.#server.listen(0, '127.0.0.1', resolve));
    const { port } = running.#server.address() as AddressInfo;
    running.#url = `http://127.0.0.1:${port}${running.#prefix}`;
    return running;
  }

  get url(): string {
    return this.#url;
  }

  script(model: string, steps: readonly Fault[], then: Fault = 'sound'): void {
    this.#scripts.set(model, { steps: [...steps], then });
  }

  cutAt(bytes: readonly number[]): void {
    this.#cuts = bytes;
  }

  hurry(): void {
    this.#hurried.resolve();
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const vendor = this.#vendor;
    const url = new URL(request.url ?? '/', 'http://sandbox');
    const seen = await see(request, vendor.keyOf(request.headers, url)).catch(() => undefined);
    if (seen === undefined) return;
    const path = decodeURIComponent(url.pathname);
    if (seen.method === 'POST' && path === '/control') return this.#control(seen, response);
    const own = path.startsWith(this.#prefix) ? path.slice(this.#prefix.length) : '';
    const body = seen.method === 'POST' ? jsonOf(seen.text) : {};
    const asked = seen.method === 'POST' ? vendor.turnOf(seen, own, url, body) : undefined;
    (asked ? this.turns : this.others).push(seen);
    response.on('close', () => {
      seen.wasCut = !response.writableFinished;
      seen.status = response.headersSent ? response.statusCode : 0;
    });
    const fail = (kind: Failure, detail?: string) => reply(response, vendor.failure(kind, seen, detail));

    if ((this.#options.needsKey ?? true) && seen.key === '') return fail('no-key');
    const refusal = refusedKeys.find(([word]) => new RegExp(`\\b${word}\\b`).test(seen.key))?.[1];
    // A key that is limited or out of quota may still list models.
    if (refusal !== undefined && (asked || refusal === 'bad-key')) {
      const given = vendor.failure(refusal, seen);
      const isTimed = given.headers?.['retry-after'] !== undefined;
      // A limited key rests longer than a limited model.
      return reply(
        response,
        isTimed ? { ...given, headers: { ...given.headers, 'retry-after': '30' } } : given,
      );
    }
    if (body === undefined) return fail('not-json');
    if (asked === undefined) {
      const other = vendor.other(seen, own, url, body, this.#models());
      return other ? reply(response, other) : fail('unknown-path', `${seen.method} ${seen.path}`);
    }
    const named = faultOf(asked.model, vendor.scenarios);
    if (named === undefined) return fail('unknown-model', asked.model);
    const count = (this.#counts.get(asked.model) ?? 0) + 1;
    this.#counts.set(asked.model, count);
    const script = this.#scripts.get(asked.model);
    const fault = script ? (script.steps.shift() ?? script.then) : named.fault;
    const turn: Turn = { ...asked, scenario: named.scenario, body, seen };
    const slow = () =>
      Promise.race([delay(this.#options.slowMs ?? 20_000, undefined, { ref: false }), this.#hurried.promise]);
    await playFault(fault, { vendor, turn, response, count, slow, cuts: this.#cuts });
  }

  /** `{"model": "claude-text", "steps": ["error", "reset"], "then": "sound"}` */
  #control(seen: SeenRequest, response: ServerResponse): void {
    const {
      model,
      steps = [],
      then = 'sound',
    } = (jsonOf(seen.text) ?? {}) as {
      readonly model?: string;
      readonly steps?: readonly Fault[];
      readonly then?: Fault;
    };
    const known: readonly string[] = ['sound', ...faultNames];
    const unknown = [...steps, then].find((step) => !known.includes(step));
    if (typeof model !== 'string' || unknown !== undefined) {
      const error = unknown === undefined ? 'a script needs a model' : `there is no fault ${unknown}`;
      reply(response, { status: 400, body: { error } });
      return;
    }
    this.script(model, steps, then);
    reply(response, { status: 200, body: { model, steps, then } });
  }

  /** The scenarios, and the first of them with every fault. */
  #models(): string[] {
    const { scenarios } = this.#vendor;
    return [...scenarios, ...faultNames.map((name) => `${scenarios[0]}-${name}`)];
  }
}

function faultOf(
  model: string,
  scenarios: readonly string[],
): { scenario: string; fault: Fault } | undefined {
  if (scenarios.includes(model)) return { scenario: model, fault: 'sound' };
  for (const fault of faultNames as readonly FaultName[]) {
    const scenario = model.slice(0, -fault.length - 1);
    if (model.endsWith(`-${fault}`) && scenarios.includes(scenario)) return { scenario, fault };
  }
  return undefined;
}

async function see(request: IncomingMessage, key: string): Promise<SeenRequest> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  const { method = '', url = '', headers } = request;
  const text = Buffer.concat(parts).toString();
  return {
    method,
    path: url,
    headers,
    text,
    key,
    at: Date.now(),
    wasCut: false,
    answer: '',
    status: 0,
  };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
