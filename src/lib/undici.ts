import { createRequire } from 'node:module';
import type undici from 'undici';

// The package as a whole loads its fetch, caches, cookies and mocks as well, which takes 50 ms and 7 MiB. Without it a
// dispatcher has no other method than `dispatch`, whatever its type says.
const require = createRequire(import.meta.url);
export const Dispatcher = require('undici/lib/dispatcher/dispatcher') as typeof undici.Dispatcher;
export const buildConnector = require('undici/lib/core/connect') as typeof undici.buildConnector;
const send = require('undici/lib/api/api-request') as (
  this: undici.Dispatcher,
  options: undici.Dispatcher.RequestOptions,
) => Promise<undici.Dispatcher.ResponseData>;

/** Sends over `dispatcher`, and resolves when the head of the answer is there. */
export function request(
  dispatcher: undici.Dispatcher,
  url: string | URL,
  options: Omit<undici.Dispatcher.RequestOptions, 'origin' | 'path'>,
): Promise<undici.Dispatcher.ResponseData> {
  const { origin, pathname, search } = new URL(url);
  return send.call(dispatcher, { ...options, origin, path: `${pathname}${search}` });
}
