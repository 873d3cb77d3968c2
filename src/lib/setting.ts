import { isIPv6 } from 'node:net';
import { homedir } from 'node:os';
import { z } from 'zod';
import { isLoopbackHost } from './addresses/loopback.ts';

/** One environment variable: what it is called, what it may hold, what it means. `.env.example` is made from these. */
export interface Setting<Value> {
  readonly help: string;
  /** As a person would write it; undefined when unset means "none". */
  readonly default?: string;
  readonly isSecret?: boolean;
  /** Is also read under its name in lower case, which wins, as with other programs. */
  readonly isAlsoLowerCase?: boolean;
  /** Names a host that refreshes tokens. */
  readonly isTokenHost?: boolean;
  readonly schema: z.ZodType<Value, string>;
}

export type SettingTable = Readonly<Record<string, Setting<unknown>>>;

/** One with a default always has a value. */
export type ValuesOf<Table extends SettingTable> = {
  readonly [Name in keyof Table]: Table[Name] extends Setting<infer Value>
    ? Value | (Table[Name] extends { readonly default: string } ? never : undefined)
    : never;
};

export const port = z
  .string()
  .regex(/^\d{1,5}$/, 'must be a port number from 0 to 65535')
  .transform(Number)
  .refine((value) => value <= 65_535, 'must be a port number from 0 to 65535');
/** As URLs spell it, but an IPv6 address without its brackets. */
export const host = z
  .string()
  .refine(
    (text) =>
      /^[\w.:[\]-]+$/.test(text) && (isIPv6(bare(text)) || !text.includes(':')) && nameOf(text) !== undefined,
    'must be a host name or an IP address to listen on, without a port, such as 127.0.0.1 or 0.0.0.0',
  )
  .transform((text) => bare(nameOf(text) ?? text));
export const count = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be a whole number from ${min} to ${max}`);
export const flag = z
  .string()
  .toLowerCase()
  .pipe(z.enum(['true', 'false', 'yes', 'no', '1', '0', 'on', 'off'], 'must be true or false'))
  .transform((word) => ['true', 'yes', '1', 'on'].includes(word));
/** A whole address, asked for as it is written. */
const httpAddress = z
  .string()
  .refine((text) => /^https?:\/\/[^/]/i.test(text) && URL.canParse(text), {
    message: 'must be a URL that begins with http:// or https:// and a host, such as http://127.0.0.1:8019',
    // Rules that follow read it as a URL.
    abort: true,
  })
  .refine(
    (text) => new URL(text).username + new URL(text).password === '',
    'must be a URL without user name and password: none would be sent',
  );
/** What the paths of calls are appended to. */
export const httpUrl = httpAddress
  .refine(
    (text) => !/[?#]/.test(text),
    'must be a URL without user, query or fragment: paths of calls are appended to it',
  )
  .transform((text) => text.replace(/\/+$/, ''));
const isSafe = (text: string): boolean => /^https:/i.test(text) || isLoopbackHost(new URL(text).hostname);
const unsafe = 'must be https unless it is on this machine';
export const safeAddress = httpAddress.refine(isSafe, unsafe);
export const safeUrl = httpUrl.refine(isSafe, unsafe);
/** A name without a scheme is an HTTP proxy, as with curl. */
export const proxyUrl = z
  .string()
  .transform((text) => (text.includes('://') ? text : `http://${text}`))
  .refine(
    (text) => URL.canParse(text) && new URL(text).hostname !== '',
    'must be the URL of a proxy, such as http://user:password@proxy.example:3128; write # / ? @ : of a password as %23 %2F %3F %40 %3A',
  )
  // What follows the host is the rest of a password that was cut.
  .refine(
    (text) => !URL.canParse(text) || !/[?#@]/.test(text.replace(/^[^/]*\/\/([^/?#]*@)?/, '')),
    'must be the URL of a proxy without anything after its port; write # / ? @ : of a password as %23 %2F %3F %40 %3A',
  )
  .refine(
    (text) => !URL.canParse(text) || hasReadableCredentials(new URL(text)),
    'has a user name or password with a bare %: write it as %25',
  );
export const secret = z.string().regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces');
/** A key that the owner of the services invents. */
export const ownKey = (length: number) =>
  secret
    .min(length, `must have at least ${length} characters (${howToMakeKey})`)
    .refine(
      (key) => !isPlaceholder(key),
      `is a key from an example, which anyone would try (${howToMakeKey})`,
    );
export const list = z.string().transform((text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
);
export const path = z
  .string()
  .refine((text) => !/^\$|^~[^/\\]/.test(text), 'must be a path; variables and ~name are not replaced here')
  .transform((text) => text.replace(/^~(?=$|[/\\])/, homedir()));
/** The name of an environment variable, where a file names one instead of its value. */
export const variableName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of an environment variable');
/** A list in which `read` makes something of each item; `fault` says what is wrong with one of which it makes nothing. */
const listOf = (read: (item: string) => string | undefined, fault: (item: string) => string) =>
  list.transform((items, context) =>
    items.map((item) => {
      const value = read(item);
      if (value === undefined) context.addIssue({ code: 'custom', message: fault(item) });
      return value ?? '';
    }),
  );
export const hostNames = listOf(
  hostNameOf,
  (item) => `must be host names or IP addresses, such as my-box.lan, and "${item}" is none`,
);
export const hostPorts = listOf(
  (item) => {
    const [, name = item, port] = /^(\[[^\]]*\]|[^:]*):(\d{1,5})$/.exec(item) ?? [];
    const host = nameOf(name);
    const isPort = port === undefined || (Number(port) > 0 && Number(port) <= 65_535);
    if (host === undefined || !isPort) return undefined;
    return port === undefined ? host : `${host}:${Number(port)}`;
  },
  () => 'must be host names or host:port, separated by commas',
);
export const origins = listOf(
  originOf,
  (item) =>
    `must be origins, such as https://chat.example.com or app://obsidian.md, null, or *, and "${item}" is none`,
);

/** The name in a host, a host with its port, or a URL; undefined where there is none. */
function hostNameOf(text: string): string | undefined {
  return nameOf(text.replace(/^https?:\/\//i, '').replace(/\/$/, ''));
}

/** A host name or an IP address as URLs spell it; undefined for what is none. */
function nameOf(text: string): string | undefined {
  const bracketed = isIPv6(text) ? `[${text}]` : text;
  if (!/^[^./@?#*\s\\][^/@?#*\s\\]*$/.test(bracketed) || !URL.canParse(`http://${bracketed}`))
    return undefined;
  return new URL(`http://${bracketed}`).hostname.replace(/\.$/, '');
}

function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1');
}

/** An origin as browsers write it; `*` may be a part of its host or its port. */
function originOf(text: string): string | undefined {
  if (text === '*' || text.toLowerCase() === 'null') return text.toLowerCase();
  const origin = text.toLowerCase().replace(/(?<=[^/:])\/$/, '');
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s\\]*$/.test(origin)) return undefined;
  if (!/^https?:/.test(origin)) return origin;
  const [, address = '', anyPort = ''] = /^(.*?)(:\*)?$/.exec(origin) ?? [];
  const example = address.replaceAll('*', 'x');
  if (!URL.canParse(example)) return undefined;
  if (!address.includes('*')) return new URL(address).origin + anyPort;
  return (new URL(example).port === '' ? address.replace(/:\d*$/, '') : address) + anyPort;
}

export function setting<Given extends Setting<unknown>>(value: Given): Given {
  return value;
}

function hasReadableCredentials({ username, password }: URL): boolean {
  try {
    decodeURIComponent(username + password);
    return true;
  } catch {
    return false;
  }
}

/** Advice on how to make a good key. */
export const howToMakeKey = 'make one with: openssl rand -hex 32';

/** The fewest characters of a key where other machines can try keys. */
export const leastKeyLength = 16;

/** Words that keys of examples consist of; at least one of them says that it is to be replaced. */
const exampleWords =
  /^(?:change|replace|insert|enter|your|example|placeholder|default|sample|dummy|my|the|me|this|here|with|please|admin|pool|gateway|api|secret|key|token|password|pass|value)+\d{0,4}$/;
const toReplace = /change|replace|insert|enter|your|example|placeholder|default|sample|dummy/;
/** What people type where a key is asked for, and what documents mask one with. */
const habits = /^(?:(?:password|passwd|qwerty|letmein)\d{0,4})+$|^\d*1234567\d*$|^(.{0,2})\1*$/;

/** Whether a key is one that anyone would try first. */
export function isPlaceholder(key: string): boolean {
  const text = key.toLowerCase().replace(/[^a-z0-9]/g, '');
  return habits.test(text) || (exampleWords.test(text) && toReplace.test(text));
}
