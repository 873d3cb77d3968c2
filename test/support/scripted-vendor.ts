import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';
import { servicesForTest, type TestServices } from './services.ts';

export interface VendorRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly bytes: Buffer;
  readonly text: string;
  /** The body's value; undefined where it is no JSON. */
  readonly json: Record<string, unknown>;
}

export interface ScriptedSetup extends TestServices {
  /** All requests but those for the list of models. */
  readonly requests: readonly VendorRequest[];
}

/** Both services with a provider (`local`) whose server answers as the test says; the models it lists are `models`. */
export async function withScripted(
  answer: (request: VendorRequest, response: ServerResponse) => void,
  {
    name = 'local',
    type = 'openai_compatible',
    fields = '',
    models = ['m'],
    keys = ['sk-one-1234567890'],
    environment = {},
    more = '',
  }: {
    readonly name?: string;
    readonly type?: 'openai_compatible' | 'anthropic_compatible' | 'gemini';
    readonly fields?: string;
    readonly models?: readonly string[];
    readonly keys?: readonly string[];
    readonly environment?: Record<string, string>;
    readonly more?: string;
  } = {},
): Promise<ScriptedSetup> {
  const requests: VendorRequest[] = [];
  const server = createServer(async (request, response) => {
    const bytes = await buffer(request).catch(() => Buffer.of());
    if (request.url === '/v1/models') {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ object: 'list', data: models.map((id) => ({ id, object: 'model' })) }));
      return;
    }
    const text = bytes.toString('utf8');
    let json: VendorRequest['json'] = {};
    if (text.startsWith('{')) json = JSON.parse(text);
    const { url: path = '', headers } = request;
    const received = { path, headers, bytes, text, json };
    requests.push(received);
    answer(received, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close().closeAllConnections());
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-vendor-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'warp2api.yaml');
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}/v1`;
  writeFileSync(file, `providers:\n  ${name}: { type: ${type}, base_url: "${url}"${fields} }\n${more}`);
  const services = await servicesForTest({ CONFIG_FILE: file, ...environment });
  for (const key of keys) await services.addAccount(key, { provider: name });
  return { ...services, requests };
}

export function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}
