import { stripVTControlCharacters } from 'node:util';
import { z } from 'zod';
import type { Sandbox } from '../../sandbox/index.ts';
import type { Client } from './client.ts';
import { type Access, runClient } from './run-client.ts';

/** Some clients try again for minutes; what they have shown by then is what a person sees. */
const limitMs = 40_000;

const body = z.object({ error: z.object({ message: z.string() }) });

interface Fault {
  readonly name: string;
  access(right: Access): Access;
  readonly scenario?: string;
}

const faults: readonly Fault[] = [
  { name: 'a wrong key', access: (right) => ({ ...right, key: 'wrong' }) },
  { name: 'an unknown model', access: (right) => ({ ...right, model: 'no-such-model' }) },
  { name: 'a rate limit', access: (right) => right, scenario: '429' },
];

/** Says of each client whether it shows the gateway's own words when a turn is refused. */
export async function tellFaults(
  client: Client,
  folder: string,
  right: Access,
  upstream: Sandbox,
  account: string,
): Promise<void> {
  for (const { name, access, scenario } of faults) {
    upstream.setKeyScenario(account, scenario);
    const given = access(right);
    const startedAt = Date.now();
    const output = stripVTControlCharacters((await runClient(client, folder, given, limitMs)) ?? '');
    const seconds = ((Date.now() - startedAt) / 1_000).toFixed(1);
    const message = await messageOf(given);
    upstream.setKeyScenario(account, undefined);
    // Lines are broken to fit a screen, and frames are drawn.
    const letters = (text: string) => text.replaceAll(/[^\p{L}\d]/gu, '');
    const isShown = letters(output).includes(letters(message.slice(0, 80)));
    const shown = isShown ? 'shown   ' : 'hidden  ';
    console.log(`${shown}${client.name}: ${name}, after ${seconds} s${isShown ? '' : `: ${message}`}`);
    if (!isShown) console.log(output.trim().slice(-600).replaceAll(/^/gm, '        | '));
    await recovered(right);
  }
}

async function messageOf({ gatewayUrl, key, model }: Access): Promise<string> {
  const answer = await ask({ gatewayUrl, key, model });
  const read = body.safeParse(await answer.json());
  return read.success ? read.data.error.message : '';
}

/** Until the account has rested from its rate limit. */
async function recovered(right: Access): Promise<void> {
  for (let tries = 0; tries < 60; tries++) {
    if ((await ask(right)).ok) return;
    await new Promise((done) => setTimeout(done, 500));
  }
  throw new Error('The account did not come back after a fault.');
}

function ask({ gatewayUrl, key, model }: Access): Promise<Response> {
  return fetch(`${gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }] }),
  });
}
