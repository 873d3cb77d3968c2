import { addressSeen } from '../http/callers.ts';
import { version } from '../version.ts';
import { pageStyle, sendPage, shown } from './api-docs-page.ts';
import type { Route } from './api-routes.ts';

/** What a service says of itself at `/`, to a browser as a page and to programs as JSON. It needs no key and tells no secret. */
export interface FrontPage<Service> {
  readonly title: string;
  readonly description: string;
  /** Where to go from here, by the name it has in the JSON; `address` is the service's, as the client named it. */
  links(service: Service, address: string): FrontLinks;
}

type FrontLinks = Readonly<Record<string, FrontLink>>;

export interface FrontLink {
  /** A path of this service, or an address. */
  readonly place: string;
  readonly says: string;
}

/** In every front page. */
export const commonLinks = {
  admin: { place: '/admin', says: 'the admin page' },
  docs: { place: '/docs', says: 'all calls, as a page' },
  openapi: { place: '/openapi.json', says: 'the same for programs' },
  health: { place: '/health', says: 'whether it works' },
} as const;

export function frontRoute<Service>(path: string, page: FrontPage<Service>): Route<Service> {
  const { title, description } = page;
  return {
    method: 'GET',
    path,
    summary: 'What this service is and where to go from here: a page for browsers, JSON for programs',
    access: 'open',
    isFrontPage: true,
    answers: { 200: { description: 'Names and addresses.', contentType: 'application/json' } },
    handle(service, request, reply) {
      const address = addressSeen(request);
      const links = page.links(service, address);
      const isBrowser = request.headers.accept?.includes('text/html') === true;
      const vary = [reply.getHeader('vary'), 'Accept'].filter((name) => name !== undefined);
      reply.header('vary', vary.join(', ')).header('cache-control', 'no-store');
      if (!isBrowser) {
        const places = Object.entries(links).map(([name, { place }]) => [name, absolute(place, address)]);
        return reply.send({ name: title, version, description, ...Object.fromEntries(places) });
      }
      return sendPage(reply, html(title, description, links));
    },
  };
}

function absolute(place: string, address: string): string {
  return place.startsWith('/') ? address + place : place;
}

function html(title: string, description: string, links: FrontLinks): string {
  const rows = Object.values(links).map(
    ({ place, says }) =>
      `<tr><td>${place.startsWith('/') ? `<a href="${shown(place)}">${shown(place)}</a>` : `<code>${shown(place)}</code>`}</td><td>${shown(says)}</td></tr>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${shown(title)}</title><style>${pageStyle}</style></head><body>
<h1>${shown(title)} <small>${shown(version)}</small></h1>
<p>${shown(description)}</p>
<table>${rows.join('\n')}</table>
</body></html>
`;
}
