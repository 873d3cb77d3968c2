import type { Ability, Capabilities } from '../src/core/capabilities.ts';
import { messagesCapabilities } from '../src/protocols/anthropic-messages/claude-models.ts';
import { messagesFields } from '../src/protocols/anthropic-messages/fields.ts';
import { geminiFields } from '../src/protocols/gemini/fields.ts';
import { geminiCapabilities } from '../src/protocols/gemini/gemini-models.ts';
import { chatCapabilities } from '../src/protocols/openai-chat/capabilities.ts';
import { chatFields } from '../src/protocols/openai-chat/fields.ts';
import { responsesFields } from '../src/protocols/openai-responses/fields.ts';
import { responsesCapabilities } from '../src/protocols/openai-responses/outbound.ts';
import type { FieldRow, FieldTable } from '../src/protocols/shared/field-table.ts';
import { createWarpOutbound } from '../src/protocols/warp/outbound.ts';

interface Dialect {
  readonly name: string;
  readonly fields: FieldTable;
  /** Which field asks for what. A field that holds several wishes is named with the value that asks. */
  readonly wishes: readonly (readonly [field: string, ability: Ability, value?: string])[];
}

/** What an upstream does natively. `relays`: the dialect whose requests it takes as they came. */
interface Upstream {
  readonly name: string;
  readonly relays?: string;
  readonly native: Capabilities;
}

const sharedByOpenai = [
  ['tool_choice', 'toolChoice'],
  ['parallel_tool_calls', 'parallelToolCalls'],
  ['temperature', 'temperature'],
  ['top_p', 'topP'],
  ['presence_penalty', 'presencePenalty'],
  ['frequency_penalty', 'frequencyPenalty'],
] as const;

const dialects: readonly Dialect[] = [
  {
    name: 'Chat Completions',
    fields: chatFields,
    wishes: [
      ['max_completion_tokens', 'maxTokens'],
      ['stop', 'stop'],
      ['response_format', 'jsonObject', 'json_object'],
      ['response_format', 'jsonSchema', 'json_schema'],
      ...sharedByOpenai,
      ['seed', 'seed'],
      ['reasoning_effort', 'reasoningEffort'],
    ],
  },
  {
    name: 'Responses',
    fields: responsesFields,
    wishes: [
      ['max_output_tokens', 'maxTokens'],
      ['text.format', 'jsonObject', 'json_object'],
      ['text.format', 'jsonSchema', 'json_schema'],
      ...sharedByOpenai,
      ['reasoning.effort', 'reasoningEffort'],
    ],
  },
  {
    name: 'Messages',
    fields: messagesFields,
    wishes: [
      ['max_tokens', 'maxTokens'],
      ['stop_sequences', 'stop'],
      ['output_config.format', 'jsonSchema'],
      ['tool_choice', 'toolChoice'],
      ['tool_choice', 'parallelToolCalls', 'disable_parallel_tool_use'],
      ['temperature', 'temperature'],
      ['top_p', 'topP'],
      ['output_config.effort', 'reasoningEffort'],
    ],
  },
  {
    name: 'Gemini',
    fields: geminiFields,
    wishes: [
      ['generationConfig.maxOutputTokens', 'maxTokens'],
      ['generationConfig.stopSequences', 'stop'],
      ['generationConfig.responseMimeType', 'jsonObject'],
      ['generationConfig.responseJsonSchema', 'jsonSchema'],
      ['toolConfig.functionCallingConfig.mode', 'toolChoice'],
      ['generationConfig.temperature', 'temperature'],
      ['generationConfig.topP', 'topP'],
      ['generationConfig.seed', 'seed'],
      ['generationConfig.presencePenalty', 'presencePenalty'],
      ['generationConfig.frequencyPenalty', 'frequencyPenalty'],
      ['generationConfig.thinkingConfig.thinkingLevel', 'reasoningEffort'],
    ],
  },
];

const upstreams: readonly Upstream[] = [
  { name: 'Chat Completions', relays: 'Chat Completions', native: chatCapabilities },
  { name: 'Responses', relays: 'Responses', native: responsesCapabilities },
  { name: 'Anthropic Messages', relays: 'Messages', native: messagesCapabilities },
  { name: 'Gemini', relays: 'Gemini', native: geminiCapabilities('gemini-flash-latest') },
  { name: 'Warp, Oz', native: createWarpOutbound().capabilities },
];

const columns = ['native', 'emulated', 'ignored', 'refused'] as const;
type Column = (typeof columns)[number];

/** Each dialect of a client at each protocol of an upstream: relayed, or what becomes of the fields that not all upstreams take. */
export function pairTable(): string {
  const rows = dialects.flatMap((dialect) =>
    upstreams.map(({ name, relays, native }) => {
      const isRelayed = relays === dialect.name;
      const cells = isRelayed ? ['all', '', '', ''] : handled(dialect, native);
      return [dialect.name, name, isRelayed ? 'relayed' : 'translated', ...cells];
    }),
  );
  const head = ['client', 'upstream', 'request', ...columns];
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function handled({ name, fields, wishes }: Dialect, native: Capabilities): string[] {
  const found: Record<Column, string[]> = { native: [], emulated: [], ignored: [], refused: [] };
  for (const [field, ability, value] of wishes) {
    const row = fields[field];
    if (row === undefined) throw new Error(`${name} has no field ${field}.`);
    const otherwise = row.handling === 'passed on' ? 'ignored' : 'emulated';
    const shown = value === undefined ? `\`${field}\`` : `\`${field}\` (\`${value}\`)`;
    found[native.has(ability) ? 'native' : otherwise].push(shown);
  }
  for (const [field, row] of Object.entries(fields)) {
    if (row.handling === 'passed on' && !wishes.some(([wish]) => wish === field))
      throw new Error(`Which ability is meant by ${field} of ${name}? Add it to scripts/pair-table.ts.`);
    const column = columnOf(row, native);
    if (column) found[column].push(`\`${field}\``);
  }
  return columns.map((column) => found[column].join(', '));
}

/** Undefined for what the gateway does itself at every upstream, for bookkeeping, and for what another row tells. */
function columnOf({ handling, wish }: FieldRow, native: Capabilities): Column | undefined {
  if (wish !== undefined && native.has(wish)) return 'native';
  return handling === 'ignored' || handling === 'refused' ? handling : undefined;
}
