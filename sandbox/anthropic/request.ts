// What Anthropic's Messages API takes: the fields of its documentation, and no others.
import { z } from 'zod';

const cacheControl = z.strictObject({ type: z.literal('ephemeral'), ttl: z.enum(['5m', '1h']).optional() });
const cached = { cache_control: cacheControl.nullish() };
const citations = z.strictObject({ enabled: z.boolean().optional() });

const textBlock = z.strictObject({
  type: z.literal('text'),
  text: z.string(),
  citations: z.array(z.looseObject({})).nullish(),
  ...cached,
});
const url = { type: z.literal('url'), url: z.string() };
const file = z.strictObject({ type: z.literal('file'), file_id: z.string() });
const imageBlock = z.strictObject({
  type: z.literal('image'),
  source: z.discriminatedUnion('type', [
    z.strictObject({
      type: z.literal('base64'),
      media_type: z.enum(['image/jpeg', 'image/png', 'image/gif', 'image/webp']),
      data: z.base64(),
    }),
    z.strictObject(url),
    file,
  ]),
  transformations: z.looseObject({}).nullish(),
  ...cached,
});
const documentBlock = z.strictObject({
  type: z.literal('document'),
  source: z.discriminatedUnion('type', [
    z.strictObject({
      type: z.literal('base64'),
      media_type: z.literal('application/pdf'),
      data: z.base64(),
    }),
    z.strictObject({ type: z.literal('text'), media_type: z.literal('text/plain'), data: z.string() }),
    z.strictObject({
      type: z.literal('content'),
      content: z.union([z.string(), z.array(z.discriminatedUnion('type', [textBlock, imageBlock]))]),
    }),
    z.strictObject(url),
    file,
  ]),
  citations: citations.nullish(),
  context: z.string().nullish(),
  title: z.string().nullish(),
  ...cached,
});
const searchResultBlock = z.strictObject({
  type: z.literal('search_result'),
  source: z.string(),
  title: z.string(),
  content: z.array(textBlock),
  citations: citations.optional(),
  ...cached,
});
const thinkingBlock = z.strictObject({
  type: z.literal('thinking'),
  thinking: z.string(),
  signature: z.string(),
});
const redactedBlock = z.strictObject({ type: z.literal('redacted_thinking'), data: z.string() });
const id = z.string().regex(/^[a-zA-Z0-9_-]+$/, "String should match pattern '^[a-zA-Z0-9_-]+$'");
const toolUseBlock = z.strictObject({
  type: z.literal('tool_use'),
  id,
  name: z.string().min(1).max(200),
  input: z.record(z.string(), z.unknown()),
  caller: z.looseObject({ type: z.string() }).optional(),
  toolset_name: z.string().nullish(),
  ...cached,
});
/** Of a search for tools that the client runs: the tools that it found. */
const toolReferenceBlock = z.strictObject({
  type: z.literal('tool_reference'),
  tool_name: z.string().min(1).max(200),
  ...cached,
});
const toolResultBlock = z.strictObject({
  type: z.literal('tool_result'),
  tool_use_id: id,
  content: z
    .union([
      z.string(),
      z.array(
        z.discriminatedUnion('type', [
          textBlock,
          imageBlock,
          documentBlock,
          searchResultBlock,
          toolReferenceBlock,
        ]),
      ),
    ])
    .optional(),
  is_error: z.boolean().optional(),
  toolset_name: z.string().nullish(),
  ...cached,
});

/** A tool that comes or goes in mid-conversation. */
const toolChangeBlock = z.strictObject({
  type: z.enum(['tool_addition', 'tool_removal']),
  tool: z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('tool_reference'), name: z.string() }),
    z.strictObject({ type: z.literal('tool_definition'), definition: z.looseObject({}) }),
  ]),
});
/** Of a tool that ran at the vendor. */
const serverToolBlock = z.strictObject({
  type: z.literal('server_tool_use'),
  id: z.string().startsWith('srvtoolu_'),
  name: z.string(),
  input: z.record(z.string(), z.unknown()),
  ...cached,
});
const searchBlock = z.strictObject({
  type: z.literal('web_search_tool_result'),
  tool_use_id: z.string().startsWith('srvtoolu_'),
  content: z.union([z.array(z.looseObject({})), z.looseObject({})]),
  ...cached,
});

const block = z.discriminatedUnion('type', [
  textBlock,
  imageBlock,
  documentBlock,
  searchResultBlock,
  thinkingBlock,
  redactedBlock,
  toolUseBlock,
  toolResultBlock,
  toolReferenceBlock,
  toolChangeBlock,
  serverToolBlock,
  searchBlock,
]);
export type Block = z.infer<typeof block>;

const message = z.strictObject({
  role: z.enum(['user', 'assistant', 'system']),
  content: z.union([z.string(), z.array(block)]),
});

const tool = z.strictObject({
  type: z.literal('custom').nullish(),
  name: z.string().regex(/^[a-zA-Z0-9_-]{1,128}$/, "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"),
  description: z.string().optional(),
  input_schema: z.looseObject({ type: z.literal('object') }),
  allowed_callers: z.array(z.string()).optional(),
  defer_loading: z.boolean().optional(),
  eager_input_streaming: z.boolean().nullish(),
  input_examples: z.array(z.looseObject({})).optional(),
  strict: z.boolean().optional(),
  ...cached,
});
/** Tools that run at the vendor or have a form of their own. */
const versionedTool = z.looseObject({ type: z.string().regex(/_\d{8}$/), ...cached });

const parallel = { disable_parallel_tool_use: z.boolean().optional() };
const display = { display: z.enum(['summarized', 'omitted']).nullish() };

const outputFormat = z.strictObject({
  type: z.literal('json_schema'),
  schema: z.record(z.string(), z.json()),
});

const shared = {
  model: z.string(),
  messages: z.array(message),
  cache_control: cacheControl.nullish(),
  output_config: z
    .strictObject({
      effort: z.enum(['low', 'medium', 'high', 'xhigh', 'max']).nullish(),
      format: outputFormat.nullish(),
    })
    .optional(),
  output_format: outputFormat.nullish(),
  speed: z.enum(['standard', 'fast']).nullish(),
  system: z.union([z.string(), z.array(textBlock)]).optional(),
  thinking: z
    .discriminatedUnion('type', [
      z.strictObject({ type: z.literal('enabled'), budget_tokens: z.int().min(1_024), ...display }),
      z.strictObject({ type: z.literal('adaptive'), ...display }),
      z.strictObject({ type: z.literal('disabled') }),
      z.strictObject({ type: z.literal('between_tools') }),
    ])
    .optional(),
  tool_choice: z
    .discriminatedUnion('type', [
      z.strictObject({ type: z.literal('auto'), ...parallel }),
      z.strictObject({ type: z.literal('any'), ...parallel }),
      z.strictObject({ type: z.literal('tool'), name: z.string(), ...parallel }),
      z.strictObject({ type: z.literal('none') }),
    ])
    .optional(),
  tools: z.array(z.union([tool, versionedTool])).optional(),
  user_profile_id: z.string().optional(),
  workspace_id: z.string().optional(),
  /** Taken with the beta header of context management only; see `withoutBetas`. */
  context_management: z.looseObject({}).nullish(),
  thread: z.looseObject({}).nullish(),
};

export const messagesRequest = z.strictObject({
  ...shared,
  max_tokens: z.int().min(0),
  container: z.union([z.string(), z.looseObject({})]).nullish(),
  diagnostics: z.looseObject({}).nullish(),
  inference_geo: z.string().nullish(),
  metadata: z.strictObject({ user_id: z.string().max(512).nullish() }).optional(),
  service_tier: z.enum(['auto', 'standard_only']).optional(),
  stop_sequences: z.array(z.string()).optional(),
  stream: z.boolean().optional(),
  temperature: z.number().min(0).max(1).optional(),
  top_k: z.int().min(0).optional(),
  top_p: z.number().min(0).max(1).optional(),
});
export const countRequest = z.strictObject(shared);

export type MessagesRequest = z.infer<typeof messagesRequest>;
export type CountRequest = z.infer<typeof countRequest>;

/** The first problem in the vendor's words. */
export function problemIn(error: z.ZodError): string {
  const [issue] = error.issues;
  return issue === undefined ? 'Invalid request' : wordsOf(issue, issue.path);
}

function wordsOf(issue: z.core.$ZodIssue, path: readonly PropertyKey[]): string {
  const at = path.map(String).join('.');
  switch (issue.code) {
    case 'unrecognized_keys':
      return `${[...path, issue.keys[0] ?? ''].map(String).join('.')}: Extra inputs are not permitted`;
    case 'invalid_union': {
      // Of several forms the one that is nearest: whose first problem lies deepest.
      const nearest = issue.errors
        .flatMap((issues) => issues.slice(0, 1))
        .toSorted((one, other) => other.path.length - one.path.length)[0];
      if (nearest) return wordsOf(nearest, [...path, ...nearest.path]);
      return `${at}: Input tag does not match any of the expected tags`;
    }
    case 'invalid_type':
      return issue.input === undefined && !('input' in issue && issue.input === null)
        ? `${at}: ${/undefined/.test(issue.message) ? 'Field required' : `Input should be a valid ${issue.expected}`}`
        : `${at}: Input should be a valid ${issue.expected}`;
    case 'too_small':
      return `${at}: Input should be greater than or equal to ${issue.minimum}`;
    case 'too_big':
      return `${at}: Input should be less than or equal to ${issue.maximum}`;
    case 'invalid_value':
      return `${at}: Input should be ${issue.values.map((one) => `'${String(one)}'`).join(', ')}`;
    default:
      return `${at}: ${issue.message}`;
  }
}
