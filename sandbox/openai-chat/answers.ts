import type { ServerResponse } from 'node:http';

/** An error in OpenAI's form. */
export function fail(
  response: ServerResponse,
  status: number,
  code: string | null,
  message: string,
  headers: Readonly<Record<string, string>> = {},
  param: string | null = null,
): void {
  const type =
    status === 429
      ? code === 'insufficient_quota'
        ? code
        : 'requests'
      : status >= 500
        ? 'server_error'
        : 'invalid_request_error';
  json(response, status, { error: { message, type, param, code } }, headers);
}

export function json(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { ...headers, 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}
