import { createHash } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import type { ApiDocument, ApiOperation } from './api-document.ts';

export const pageStyle = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h2 { font: 600 1rem ui-monospace, monospace; margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1rem; }
h2 b { display: inline-block; min-width: 4.5rem; color: #06c; }
code, pre { font-family: ui-monospace, monospace; font-size: 13px; }
pre { background: #f6f6f6; padding: .7rem; overflow-x: auto; border-radius: 4px; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top; }
summary { cursor: pointer; } .key { color: #666; } a { color: #06c; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } pre { background: #242424; }
  h2 { border-color: #333; } .key { color: #999; } a, h2 b { color: #6af; } }
`;

/** Nothing but this page's own style is loaded or run. */
const pagePolicy = `default-src 'none'; style-src 'sha256-${createHash('sha256')
  .update(pageStyle)
  .digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

export function sendPage(reply: FastifyReply, page: string | Buffer): FastifyReply {
  return reply
    .type('text/html; charset=utf-8')
    .header('content-security-policy', pagePolicy)
    .header('x-content-type-options', 'nosniff')
    .header('referrer-policy', 'no-referrer')
    .send(page);
}

/** An interface's document as one page that needs neither scripts nor the internet. */
export function docsPage(document: ApiDocument): string {
  const { info, paths, components } = document;
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  const contents = operations.map(
    ({ path, method, operation }) =>
      `<tr><td><code>${method.toUpperCase()}</code></td><td><a href="#${operation.operationId}"><code>${shown(path)}</code></a></td><td>${shown(operation.summary)}</td></tr>`,
  );
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) =>
      `<details id="schema-${shown(name)}"><summary><code>${shown(name)}</code></summary>${json(schema)}</details>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${shown(info.title)}</title><style>${pageStyle}</style></head><body>
<h1>${shown(info.title)} <small>${shown(info.version)}</small></h1>
<p>${shown(info.description)} For programs: <a href="openapi.json">openapi.json</a>.</p>
<table>${contents.join('\n')}</table>
${operations.map(({ path, method, operation }) => section(path, method, operation)).join('\n')}
<h2>Schemas</h2>
${schemas.join('\n')}
</body></html>
`;
}

function section(path: string, method: string, operation: ApiOperation): string {
  const key = operation.security.flatMap((one) => Object.keys(one)).join(', ');
  const parameters = (operation.parameters ?? []).map(
    ({ name, in: place, required, schema }) =>
      `<tr><td><code>${shown(name)}</code></td><td>${place}${required ? ', required' : ''}</td><td><code>${shown(JSON.stringify(schema))}</code></td></tr>`,
  );
  const responses = Object.entries(operation.responses).map(
    ([status, { description, content }]) =>
      `<tr><td><code>${shown(status)}</code></td><td>${shown(description)}</td><td>${contentOf(content)}</td></tr>`,
  );
  const { requestBody } = operation;
  return `<h2 id="${operation.operationId}"><b>${method.toUpperCase()}</b> ${shown(path)}</h2>
<p>${shown(operation.summary)}. ${shown(operation.description ?? '')}</p>
<p class="key">${key === '' ? 'Needs no key.' : `Needs a key: ${shown(key)}.`}</p>
${parameters.length === 0 ? '' : `<table>${parameters.join('')}</table>`}
${requestBody === undefined ? '' : `<p>Body${requestBody.required ? '' : ' (may be left out)'}: ${contentOf(requestBody.content)}</p>`}
<table>${responses.join('')}</table>`;
}

function contentOf(content: Readonly<Record<string, unknown>> = {}): string {
  return Object.entries(content)
    .map(([type, body]) => {
      const { schema } = body as { readonly schema?: { readonly $ref?: string } };
      const name = schema?.$ref?.split('/').at(-1);
      const link =
        name === undefined ? '' : `<a href="#schema-${shown(name)}"><code>${shown(name)}</code></a> `;
      return `${link}<code>${shown(type)}</code>`;
    })
    .join(', ');
}

function json(value: unknown): string {
  return `<pre>${shown(JSON.stringify(value, null, 2))}</pre>`;
}

/** Text as it stands in a page. */
export function shown(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
