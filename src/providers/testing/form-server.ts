import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';

/** What a token endpoint of a test was asked. */
export interface AskedForm {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly form: Readonly<Record<string, string>>;
}

/** A status with a JSON body, or a function that writes the answer itself. */
export type FormAnswer =
  | readonly [status: number, body: unknown, headers?: Record<string, string>]
  | ((response: ServerResponse) => void);

/** A token endpoint of scripted answers, gone when the running test ends. */
export async function startFormServer(answer: (asked: AskedForm, index: number) => FormAnswer) {
  const asked: AskedForm[] = [];
  const server = createServer(async (request, response) => {
    const body = await buffer(request).catch(() => undefined);
    // Its client has left, or the test has ended.
    if (body === undefined) return;
    const form = Object.fromEntries(new URLSearchParams(body.toString()));
    const seen = { path: request.url ?? '', headers: request.headers, form };
    asked.push(seen);
    const said = answer(seen, asked.length - 1);
    if (typeof said === 'function') said(response);
    else
      response
        .writeHead(said[0], { 'content-type': 'application/json', ...said[2] })
        .end(typeof said[1] === 'string' ? said[1] : JSON.stringify(said[1]));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

/** An ID token with these claims; nobody checks its signature. */
export function idToken(claims: Record<string, unknown>): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part(claims)}.sig`;
}
