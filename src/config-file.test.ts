import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { loadConfig } from './config.ts';

function load(yaml: string, environment: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-config-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'warp2api.yaml'), yaml);
  return loadConfig(environment, folder);
}

const corp = `
providers:
  corp:
    type: oauth2
    token_url: https://issuer.example/token
    client_id: client
`;

test('providers are read, and a secret may be named instead of written down', () => {
  const yaml = `${corp}    client_secret_env: CORP_SECRET
    device_authorization_url: http://127.0.0.1:9/device
    scope: offline_access
  local:
    type: api_key
    check_url: https://keys.example/check
`;
  expect(load(yaml, { CORP_SECRET: 's3cret' }).providers).toEqual({
    corp: {
      type: 'oauth2',
      tokenUrl: 'https://issuer.example/token',
      clientId: 'client',
      clientSecret: 's3cret',
      deviceAuthorizationUrl: 'http://127.0.0.1:9/device',
      scope: 'offline_access',
      quotaUrl: undefined,
    },
    local: { type: 'api_key', checkUrl: 'https://keys.example/check' },
  });
  expect(load('aliases: {fast: auto}').providers).toEqual({});
});

test.each([
  ['a named secret that is not set', `${corp}    client_secret_env: CORP_SECRET`, /CORP_SECRET is not set/],
  [
    'two secrets',
    `${corp}    client_secret: a\n    client_secret_env: B`,
    /client_secret: give client_secret or client_secret_env/,
  ],
  ['an unknown field', `${corp}    redirect_uri: x`, /providers\.corp: .*"redirect_uri"/],
  ['an unknown type', 'providers: {x: {type: saml}}', /providers\.x\.type: must be oauth2 or api_key/],
  [
    'an address that is neither https nor here',
    'providers: {x: {type: api_key, check_url: "http://far.example"}}',
    /providers\.x\.check_url: must be https/,
  ],
  ['a built-in name', 'providers: {warp: {type: api_key}}', /providers\.warp: is built in/],
  ['a name no account could have', 'providers: {"A B": {type: api_key}}', /must be a name of/],
  ['a missing field', 'providers: {x: {type: oauth2}}', /providers\.x\.token_url/],
])('%s is a fault that says what to do', (_name, yaml, message) => {
  expect(() => load(yaml)).toThrow(message);
});
