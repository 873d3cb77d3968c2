import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { docsPagePolicy, pageStyle, shown } from './api-docs-page.ts';
import type { ApiRoute } from './api-document.ts';
import { addressSeen } from './http-server.ts';
import { version } from './version.ts';

/** What a service says of itself at `/`, to a browser as a page and to programs as JSON. It needs no key and tells no secret. */
export interface FrontPage {
  readonly name: string;
  readonly description: string;
  /** Where to go from here, by the name it has in the JSON; `address` is the service's, as the client named it. */
  links(address: string): Readonly<Record<string, FrontLink>>;
}

export interface FrontLink {
  /** A path of this service, or an address. */
  readonly place: string;
  readonly says: string;
}

/** In every front page. */
export const commonLinks = {
  docs: { place: '/docs', says: 'all calls, as a page' },
  openapi: { place: '/openapi.json', says: 'the same for programs' },
  health: { place: '/health', says: 'whether it works' },
} as const;

export function frontRoute(path: string): ApiRoute {
  return {
    method: 'GET',
    path,
    summary: 'What this service is and where to go from here: a page for browsers, JSON for programs',
    access: 'open',
    answers: { 200: { description: 'Names and addresses.', contentType: 'application/json' } },
  };
}

export function serveFrontPage(app: FastifyInstance, paths: readonly string[], page: FrontPage): void {
  const route = { config: { access: 'open', isFrontPage: true } };
  for (const path of paths) app.get(path, route, (request, reply) => answer(page, request, reply));
}

function answer(page: FrontPage, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const address = addressSeen(request);
  const links = page.links(address);
  const isBrowser = request.headers.accept?.includes('text/html') === true;
  const vary = [reply.getHeader('vary'), 'Accept'].filter((name) => name !== undefined);
  reply.header('vary', vary.join(', ')).header('cache-control', 'no-store');
  if (!isBrowser) {
    const places = Object.entries(links).map(([name, { place }]) => [name, absolute(place, address)]);
    const { name, description } = page;
    return reply.send({ name, version, description, ...Object.fromEntries(places) });
  }
  return reply
    .type('text/html; charset=utf-8')
    .header('content-security-policy', docsPagePolicy)
    .header('x-content-type-options', 'nosniff')
    .header('referrer-policy', 'no-referrer')
    .send(html(page, links));
}

function absolute(place: string, address: string): string {
  return place.startsWith('/') ? address + place : place;
}

function html({ name, description }: FrontPage, links: Readonly<Record<string, FrontLink>>): string {
  const rows = Object.values(links).map(
    ({ place, says }) =>
      `<tr><td>${place.startsWith('/') ? `<a href="${shown(place)}">${shown(place)}</a>` : `<code>${shown(place)}</code>`}</td><td>${shown(says)}</td></tr>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${shown(name)}</title><style>${pageStyle}</style></head><body>
<h1>${shown(name)} <small>${shown(version)}</small></h1>
<p>${shown(description)}</p>
<table>${rows.join('\n')}</table>
</body></html>
`;
}
