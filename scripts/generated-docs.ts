import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { z } from 'zod';
import { configFileSchema } from '../src/config-file.ts';
import {
  type Ability,
  type Capabilities,
  emulatedAbilities,
  rareAbilities,
  tuningAbilities,
} from '../src/core/capabilities.ts';
import { messagesCapabilities } from '../src/protocols/anthropic-messages/claude-models.ts';
import { messagesBlocks, messagesFields } from '../src/protocols/anthropic-messages/fields.ts';
import { geminiFields, geminiParts } from '../src/protocols/gemini/fields.ts';
import { geminiCapabilities } from '../src/protocols/gemini/gemini-models.ts';
import { chatCapabilities } from '../src/protocols/openai-chat/capabilities.ts';
import { chatFields, chatParts } from '../src/protocols/openai-chat/fields.ts';
import { responsesFields, responsesItems } from '../src/protocols/openai-responses/fields.ts';
import { responsesCapabilities } from '../src/protocols/openai-responses/outbound.ts';
import type { FieldRow, FieldTable } from '../src/protocols/shared/field-table.ts';
import {
  chatTools,
  geminiTools,
  messagesTools,
  responsesTools,
  type ToolTable,
} from '../src/protocols/shared/tools.ts';
import { createWarpOutbound } from '../src/protocols/warp/outbound.ts';
import { vendors } from '../src/providers/openai-compatible/vendors.ts';
import { settings } from '../src/settings.ts';
import { gatewayErrorTable } from './gateway-errors.ts';
import { pairTable } from './pair-table.ts';
import { poolErrorTable } from './pool-errors.ts';

/** What becomes of it at an upstream that lacks it. */
const withoutRare: Record<(typeof rareAbilities)[number], string> = {
  documents: 'refused, or a note',
  refusals: 'emulated',
  cacheBreakpoints: 'silent',
  strictTools: 'ignored',
  topK: 'ignored',
};

/** What an upstream does with each wish of a request. */
function abilityTable(): string {
  // The last says what becomes of the fields of the tables that not all upstreams take.
  const upstreams: [name: string, native: Capabilities, fields: string][] = [
    ['Warp, Oz', createWarpOutbound().capabilities, 'as the tables say'],
    ['Chat Completions, translated', chatCapabilities, 'native'],
    ['Responses, translated', responsesCapabilities, 'native, but `logit_bias` and `prediction`'],
    ['Anthropic Messages, translated', messagesCapabilities, 'as the tables say'],
    ['Gemini, translated', geminiCapabilities('gemini-flash-latest'), 'as the tables say'],
  ];
  const row = (ability: Ability, otherwise: string): string => {
    const cells = upstreams.map(([, native]) => (native.has(ability) ? 'native' : otherwise));
    return `| ${[`\`${ability}\``, ...cells, 'native'].join(' | ')} |`;
  };
  return [
    `| wish | ${[...upstreams.map(([name]) => name), 'any, relayed'].join(' | ')} |`,
    `| --- | ${[...upstreams, 'relayed'].map(() => '---').join(' | ')} |`,
    ...emulatedAbilities.map((ability) => row(ability, 'emulated')),
    ...tuningAbilities.map((ability) => row(ability, 'ignored')),
    ...rareAbilities.map((ability) => row(ability, withoutRare[ability])),
    `| ${['the fields that the tables call native', ...upstreams.map(([, , fields]) => fields), 'native'].join(' | ')} |`,
    `| ${['`logprobs`, audio and all that no dialect shares', ...upstreams.map(() => 'refused'), 'native'].join(' | ')} |`,
  ].join('\n');
}

const root = resolve(import.meta.dirname, '..');

/** Files, or parts of them, that are made from the sources: path and the text it must have. */
export function generatedDocs(): readonly { readonly path: string; readonly text: string }[] {
  const operatingDocs = resolve(root, 'docs/operating.md');
  const providerDocs = resolve(root, 'docs/providers.md');
  const poolDocs = resolve(root, 'docs/pool.md');
  const gatewayDocs = resolve(root, 'docs/gateway.md');
  const fieldDocs = resolve(root, 'docs/fields.md');
  return [
    { path: resolve(root, '.env.example'), text: envExample() },
    { path: operatingDocs, text: withBlocks(operatingDocs, { settings: settingsTable() }) },
    { path: providerDocs, text: withBlocks(providerDocs, { providers: providerTable() }) },
    { path: resolve(root, 'docs/warp2api.schema.json'), text: configSchema() },
    { path: poolDocs, text: withBlocks(poolDocs, { errors: poolErrorTable() }) },
    { path: gatewayDocs, text: withBlocks(gatewayDocs, { errors: gatewayErrorTable() }) },
    {
      path: fieldDocs,
      text: withBlocks(fieldDocs, {
        abilities: abilityTable(),
        pairs: pairTable(),
        chat: fieldRows(chatFields),
        'chat messages': fieldRows(chatParts),
        'chat tools': toolRows(chatTools),
        responses: fieldRows(responsesFields),
        'responses items': fieldRows(responsesItems),
        'responses tools': toolRows(responsesTools),
        messages: fieldRows(messagesFields),
        'messages blocks': fieldRows(messagesBlocks),
        'messages tools': toolRows(messagesTools),
        gemini: fieldRows(geminiFields),
        'gemini parts': fieldRows(geminiParts),
        'gemini tools': toolRows(geminiTools),
      }),
    },
  ];
}

function withBlocks(path: string, blocks: Readonly<Record<string, string>>): string {
  let text = readFileSync(path, 'utf8');
  for (const [name, block] of Object.entries(blocks)) {
    const start = `<!-- ${name}: made by npm run generate -->`;
    const end = `<!-- /${name} -->`;
    const from = text.indexOf(start);
    const to = text.indexOf(end);
    if (from === -1 || to === -1) throw new Error(`${path} lost its markers ${start} and ${end}.`);
    text = `${text.slice(0, from + start.length)}\n${block}\n${text.slice(to)}`;
  }
  return text;
}

/** The providers that one command makes usable. */
function providerTable(): string {
  const rows = [
    ['anthropic', 'https://api.anthropic.com', true],
    ['gemini', 'https://generativelanguage.googleapis.com', true],
    ...Object.entries(vendors).map(
      ([name, { baseUrl, takesNoKey }]) => [name, baseUrl, !takesNoKey] as const,
    ),
  ] as const;
  return [
    '| provider | where it is asked | an account |',
    '| --- | --- | --- |',
    ...rows.map(([name, baseUrl, needsKey]) => {
      const place = baseUrl
        ? `\`${baseUrl}\``
        : 'the `base_url` of your resource, in `providers:` of `warp2api.yaml`';
      return `| \`${name}\` | ${place} | \`npx warp2api account add --provider ${name}${needsKey ? ' --api-key -' : ''}\` |`;
    }),
  ].join('\n');
}

/** For editors: what warp2api.yaml may say. */
function configSchema(): string {
  const schema = z.toJSONSchema(configFileSchema, { io: 'input', unrepresentable: 'any' });
  return `${JSON.stringify({ title: 'warp2api.yaml', ...schema }, undefined, 2)}\n`;
}

/** The text of `.env.example`. */
function envExample(): string {
  const head =
    '# Made from the settings in src/settings.ts and src/providers by `npm run generate`. Copy to .env and change what you need.\n';
  const blocks = Object.entries(settings).map(([name, { help, default: value = '' }]) => {
    return `# ${help}\n#${name}=${value}\n`;
  });
  return [head, ...blocks].join('\n');
}

/** The settings as the rows of a Markdown table. */
function settingsTable(): string {
  const rows = Object.entries(settings).map(([name, { help, default: value }]) => {
    return `| \`${name}\` | ${value === undefined ? '' : `\`${value}\``} | ${help} |`;
  });
  return ['| variable | default | meaning |', '| --- | --- | --- |', ...rows].join('\n');
}

/** The table as Markdown, for docs/fields.md. */
function fieldRows(table: FieldTable): string {
  return [
    '| field | handling | what happens |',
    '| --- | --- | --- |',
    ...Object.entries(table).map(
      ([path, { handling, wish, says, neutral }]) =>
        `| \`${path}\` | ${handling}${wish ? ', or native' : ''} | ${says}${accepted(neutral)} |`,
    ),
  ].join('\n');
}

function accepted(neutral: FieldRow['neutral']): string {
  if (neutral === undefined) return '';
  return ` (${neutral.map((value) => `\`${JSON.stringify(value)}\``).join(', ')}: simply accepted)`;
}

/** The table as Markdown, for docs/fields.md. */
function toolRows(table: ToolTable): string {
  return [
    '| type | run by | calls | results | what happens |',
    '| --- | --- | --- | --- | --- |',
    ...Object.entries(table).map(
      ([type, { runBy, call, result, says, isRefused }]) =>
        `| \`${type}\` | ${runBy} | ${code(call)} | ${code(result)} | ${isRefused ? `refused: ${says}` : says} |`,
    ),
  ].join('\n');
}

function code(names: string): string {
  return names
    .split(', ')
    .map((name) => (name.includes(' ') ? name : `\`${name}\``))
    .join(', ');
}
