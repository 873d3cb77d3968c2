import type { FastifyInstance } from 'fastify';
import { docsPage, docsPagePolicy } from './api-docs-page.ts';
import { type ApiDescription, type ApiDocument, type ApiRoute, apiDocument } from './api-document.ts';

/** How the documentation itself stands in a document. */
export const docsRoutes: readonly ApiRoute[] = [
  {
    method: 'GET',
    path: '/openapi.json',
    summary: 'This interface as an OpenAPI document',
    access: 'open',
    answers: { 200: { description: 'The document.', contentType: 'application/json' } },
  },
  {
    method: 'GET',
    path: '/docs',
    summary: 'This interface as a page for people',
    access: 'open',
    answers: { 200: { description: 'The page.', contentType: 'text/html' } },
  },
];

/**
 * Serves `/openapi.json` and `/docs`. Both are made at the first request: most processes are never asked. They are kept as
 * bytes, which all responses share: with a string each slow reader, who needs no key, would cost a copy.
 */
export function serveApiDocs(app: FastifyInstance, api: ApiDescription): void {
  let description: ApiDocument | undefined;
  let document: Buffer | undefined;
  let page: Buffer | undefined;
  const open = { config: { access: 'open' } };
  app.get('/openapi.json', open, (_request, reply) => {
    description ??= apiDocument(api);
    document ??= Buffer.from(JSON.stringify(description));
    return reply.type('application/json; charset=utf-8').send(document);
  });
  app.get('/docs', open, (_request, reply) => {
    description ??= apiDocument(api);
    page ??= Buffer.from(docsPage(description));
    return reply
      .type('text/html; charset=utf-8')
      .header('content-security-policy', docsPagePolicy)
      .header('x-content-type-options', 'nosniff')
      .header('referrer-policy', 'no-referrer')
      .send(page);
  });
}
