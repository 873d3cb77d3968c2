import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FastifyReply } from 'fastify';
import type { Route } from './api-routes.ts';

/** Serves the admin page at `/admin` as `npm run build` has made it: `web/` says what it is. */

/** The page runs and loads nothing but its own files, calls nothing but its own service, and is in no other page's frame. */
const headers = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
} as const;

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** By what a client calls them, the smallest first. */
const codings = [
  ['br', '.br'],
  ['gzip', '.gz'],
] as const;

interface PageFile {
  readonly type: string;
  readonly etag: string;
  readonly bytes: Buffer;
  readonly compressed: ReadonlyMap<string, Buffer>;
}
type PageFiles = ReadonlyMap<string, PageFile>;

const start = 'index.html';
/** Sources and built package lie at different depths. */
const builtTo = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../../dist/web' : '../../../web', import.meta.url),
);
const notBuilt =
  'The admin page is not built: run "npm run build" in the folder of this program, then load this page again.\n';

export function adminRoutes<Service>(folder = builtTo): readonly Route<Service>[] {
  let files: Promise<PageFiles> | undefined;
  async function send(name: string, reply: FastifyReply): Promise<FastifyReply> {
    files ??= readFiles(folder);
    const known = await files;
    // It may be built while the service runs.
    if (!known.has(start)) files = undefined;
    const file = known.get(name);
    reply.headers(headers);
    if (file) return sendFile(file, name, reply);
    const text = known.has(start) ? 'The admin page has no such file: load the page again.\n' : notBuilt;
    return reply
      .status(known.has(start) ? 404 : 503)
      .type('text/plain; charset=utf-8')
      .header('cache-control', 'no-store')
      .send(text);
  }
  const page = { description: 'The page, or one of its files.', contentType: 'text/html' };
  return [
    {
      method: 'GET',
      path: '/admin',
      summary: 'The admin page, for a browser',
      access: 'open',
      answers: { 200: page },
      handle: (_service, _request, reply) => send(start, reply),
    },
    {
      method: 'GET',
      path: '/admin/assets/{id}',
      summary: 'A file of the admin page',
      access: 'open',
      answers: { 200: page },
      handle: (_service, request, reply) => send(`assets/${request.params.id}`, reply),
    },
  ];
}

function sendFile(
  { type, etag, bytes, compressed }: PageFile,
  name: string,
  reply: FastifyReply,
): FastifyReply {
  const { request } = reply;
  // The names of all others change with what is in them.
  const lasts = name === start ? 'no-cache' : 'public, max-age=31536000, immutable';
  const vary = [reply.getHeader('vary'), 'Accept-Encoding'].filter((one) => one !== undefined).join(', ');
  reply.header('etag', etag).header('cache-control', lasts).header('vary', vary);
  if (request.headers['if-none-match']?.includes(etag)) return reply.status(304).send();
  const accepted = String(request.headers['accept-encoding'] ?? '');
  const [coding] =
    codings.find(([one]) => new RegExp(`\\b${one}\\b(?!\\s*;\\s*q=0(\\.0*)?\\s*(,|$))`).test(accepted)) ?? [];
  if (coding !== undefined) reply.header('content-encoding', coding);
  return reply.type(type).send((coding !== undefined && compressed.get(coding)) || bytes);
}

/** All of them stay in memory: some 600 kB. */
async function readFiles(folder: string): Promise<PageFiles> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const known = new Map<string, PageFile>();
  for (const name of names) {
    const type = types[extname(name)];
    if (type === undefined) continue;
    const bytes = await readFile(join(folder, name));
    const compressed = new Map<string, Buffer>();
    for (const [coding, end] of codings) compressed.set(coding, await readFile(join(folder, name + end)));
    const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
    known.set(name.replaceAll('\\', '/'), { type, etag, bytes, compressed });
  }
  return known;
}
