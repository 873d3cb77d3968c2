// What OpenAI's Responses API takes: the fields of its specification, and no others.
import { z } from 'zod';

const inputText = z.strictObject({
  type: z.literal('input_text'),
  text: z.string(),
  prompt_cache_breakpoint: z.looseObject({}).optional(),
});
const inputImage = z.strictObject({
  type: z.literal('input_image'),
  detail: z.enum(['low', 'high', 'auto', 'original']).nullish(),
  image_url: z
    .string()
    .regex(/^(https?:\/\/|data:image\/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+$)/)
    .nullish(),
  file_id: z.string().nullish(),
  prompt_cache_breakpoint: z.looseObject({}).optional(),
});
const inputFile = z.strictObject({
  type: z.literal('input_file'),
  file_data: z.string().nullish(),
  file_id: z.string().nullish(),
  file_url: z.string().nullish(),
  filename: z.string().nullish(),
  detail: z.string().optional(),
  prompt_cache_breakpoint: z.looseObject({}).optional(),
});
const outputText = z.strictObject({
  type: z.literal('output_text'),
  text: z.string(),
  annotations: z.array(z.looseObject({})).optional(),
  logprobs: z.array(z.looseObject({})).nullish(),
});
const refusal = z.strictObject({ type: z.literal('refusal'), refusal: z.string() });
const inputPart = z.discriminatedUnion('type', [inputText, inputImage, inputFile]);
const outputPart = z.discriminatedUnion('type', [outputText, refusal]);

const status = z.enum(['in_progress', 'completed', 'incomplete']).nullish();
/** An id begins with the kind of what it names. */
const idOf = (kind: string) => z.string().startsWith(kind).nullish();
const callId = z.string().min(1).max(64);

const message = z.strictObject({
  type: z.literal('message'),
  id: idOf('msg'),
  role: z.enum(['assistant', 'system', 'developer', 'user']),
  content: z.union([z.string(), z.array(z.discriminatedUnion('type', [inputPart, outputPart]))]),
  status,
  phase: z.enum(['commentary', 'final_answer']).nullish(),
});
const functionCall = z.strictObject({
  type: z.literal('function_call'),
  id: idOf('fc'),
  call_id: callId,
  name: z
    .string()
    .regex(/^[a-zA-Z0-9_-]+$/)
    .max(128),
  arguments: z.string(),
  namespace: z.string().nullish(),
  async: z.boolean().optional(),
  caller: z.looseObject({}).nullish(),
  status,
});
const functionOutput = z.strictObject({
  type: z.literal('function_call_output'),
  id: idOf('fc'),
  call_id: callId,
  output: z.union([z.string(), z.array(inputPart)]),
  caller: z.looseObject({}).nullish(),
  status,
});
const customCall = z.strictObject({
  type: z.literal('custom_tool_call'),
  id: idOf('ctc'),
  call_id: callId,
  name: z.string().min(1).max(128),
  namespace: z.string().nullish(),
  input: z.string(),
  status,
});
const customOutput = z.strictObject({
  type: z.literal('custom_tool_call_output'),
  id: idOf('ctc'),
  call_id: callId,
  output: z.union([z.string(), z.array(inputPart)]),
  status,
});
const reasoning = z.strictObject({
  type: z.literal('reasoning'),
  id: idOf('rs'),
  summary: z.array(z.strictObject({ type: z.literal('summary_text'), text: z.string() })),
  content: z.array(z.strictObject({ type: z.literal('reasoning_text'), text: z.string() })).nullish(),
  encrypted_content: z.string().nullish(),
  status,
});
const reference = z.strictObject({ type: z.literal('item_reference'), id: z.string() });
/** Of the tools that run at the vendor. */
const others = [
  'file_search_call',
  'computer_call',
  'computer_call_output',
  'web_search_call',
  'code_interpreter_call',
  'image_generation_call',
  'local_shell_call',
  'local_shell_call_output',
  'shell_call',
  'shell_call_output',
  'apply_patch_call',
  'apply_patch_call_output',
  'mcp_list_tools',
  'mcp_approval_request',
  'mcp_approval_response',
  'mcp_call',
  'compaction',
  'compaction_trigger',
  'tool_search_call',
  'tool_search_output',
  'additional_tools',
] as const;
const other = z.looseObject({ type: z.enum(others) });

const item = z.discriminatedUnion('type', [
  message,
  functionCall,
  functionOutput,
  customCall,
  customOutput,
  reasoning,
  reference,
  other,
]);
export type Item = z.infer<typeof item>;

/** A message may leave its type out. */
const untyped = z.preprocess((given) => {
  const isMessage = typeof given === 'object' && given !== null && 'role' in given && !('type' in given);
  return isMessage ? { type: 'message', ...given } : given;
}, item);

const jsonSchema = z.record(z.string(), z.json());
const functionTool = z.strictObject({
  type: z.literal('function'),
  name: z
    .string()
    .regex(/^[a-zA-Z0-9_-]+$/)
    .max(64),
  description: z.string().nullish(),
  parameters: jsonSchema.nullish(),
  strict: z.boolean().nullish(),
  allowed_callers: z.array(z.string()).nullish(),
  async: z.boolean().optional(),
  defer_loading: z.boolean().optional(),
  output_schema: jsonSchema.nullish(),
});
const customTool = z.strictObject({
  type: z.literal('custom'),
  name: z
    .string()
    .regex(/^[a-zA-Z0-9_-]+$/)
    .max(64),
  description: z.string().nullish(),
  format: z
    .discriminatedUnion('type', [
      z.strictObject({ type: z.literal('text') }),
      z.strictObject({
        type: z.literal('grammar'),
        syntax: z.enum(['lark', 'regex']),
        definition: z.string(),
      }),
    ])
    .nullish(),
  defer_loading: z.boolean().optional(),
});
const otherTool = z.looseObject({
  type: z.enum([
    'namespace',
    'web_search',
    'web_search_preview',
    'web_search_2025_08_26',
    'file_search',
    'computer',
    'computer_use_preview',
    'mcp',
    'code_interpreter',
    'programmatic_tool_calling',
    'image_generation',
    'local_shell',
    'shell',
    'tool_search',
    'apply_patch',
  ]),
});

const includes = z.enum([
  'file_search_call.results',
  'web_search_call.results',
  'web_search_call.action.sources',
  'message.input_image.image_url',
  'computer_call_output.output.image_url',
  'code_interpreter_call.outputs',
  'reasoning.encrypted_content',
  'message.output_text.logprobs',
]);

export const responsesRequest = z.strictObject({
  model: z.string(),
  input: z.union([z.string(), z.array(untyped)]).optional(),
  instructions: z.string().nullish(),
  access_programs: z.looseObject({}).optional(),
  background: z.boolean().nullish(),
  /** Not in the specification; Codex sends it to OpenAI with every turn. */
  client_metadata: z.record(z.string(), z.string()).nullish(),
  context_management: z.array(z.looseObject({})).nullish(),
  conversation: z.union([z.string(), z.looseObject({})]).nullish(),
  image: z.looseObject({}).optional(),
  include: z.array(includes).nullish(),
  max_output_tokens: z.int().min(16).nullish(),
  max_tool_calls: z.int().nullish(),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  moderation: z.looseObject({}).nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  previous_response_id: z.string().nullish(),
  prompt: z.looseObject({}).nullish(),
  prompt_cache_key: z.string().max(64).nullish(),
  prompt_cache_options: z.looseObject({}).optional(),
  prompt_cache_retention: z.enum(['in_memory', '24h']).nullish(),
  reasoning: z
    .strictObject({
      effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max']).nullish(),
      summary: z.enum(['auto', 'concise', 'detailed']).nullish(),
      generate_summary: z.enum(['auto', 'concise', 'detailed']).nullish(),
      context: z.string().nullish(),
      mode: z.string().nullish(),
    })
    .nullish(),
  safety_identifier: z.string().nullish(),
  service_tier: z.enum(['auto', 'default', 'flex', 'scale', 'priority', 'fast']).nullish(),
  store: z.boolean().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_obfuscation: z.boolean().optional() }).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  text: z
    .strictObject({
      format: z
        .discriminatedUnion('type', [
          z.strictObject({ type: z.literal('text') }),
          z.strictObject({ type: z.literal('json_object') }),
          z.strictObject({
            type: z.literal('json_schema'),
            name: z
              .string()
              .regex(/^[a-zA-Z0-9_-]+$/)
              .max(64),
            description: z.string().optional(),
            schema: jsonSchema,
            strict: z.boolean().nullish(),
          }),
        ])
        .optional(),
      verbosity: z.enum(['low', 'medium', 'high']).nullish(),
    })
    .optional(),
  tool_choice: z
    .union([
      z.enum(['none', 'auto', 'required']),
      z.strictObject({ type: z.literal('function'), name: z.string() }),
      z.strictObject({
        type: z.literal('allowed_tools'),
        mode: z.enum(['auto', 'required']),
        tools: z.array(z.looseObject({})),
      }),
      z.looseObject({ type: z.enum(['custom', 'mcp', 'web_search_preview', 'file_search', 'shell']) }),
    ])
    .nullish(),
  tools: z.array(z.discriminatedUnion('type', [functionTool, customTool, otherTool])).nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  truncation: z.enum(['auto', 'disabled']).nullish(),
  user: z.string().optional(),
});
export type ResponsesRequest = z.infer<typeof responsesRequest>;

export interface Problem {
  readonly message: string;
  readonly param: string | null;
  readonly code: string | null;
  readonly status?: number;
}

/** The first problem in the vendor's words. */
export function problemIn(error: z.ZodError): Problem {
  const [issue] = error.issues;
  return issue === undefined
    ? { message: 'Invalid request.', param: null, code: null }
    : problemOf(issue, issue.path);
}

function problemOf(issue: z.core.$ZodIssue, path: readonly PropertyKey[]): Problem {
  const param = nameOf(path);
  switch (issue.code) {
    case 'unrecognized_keys': {
      const unknown = nameOf([...path, issue.keys[0] ?? '']);
      return { message: `Unknown parameter: '${unknown}'.`, param: unknown, code: 'unknown_parameter' };
    }
    case 'invalid_union': {
      // Of several forms the one that is nearest: whose first problem lies deepest.
      const nearest = issue.errors
        .flatMap((issues) => issues.slice(0, 1))
        .toSorted((one, other) => other.path.length - one.path.length)[0];
      if (nearest) return problemOf(nearest, [...path, ...nearest.path]);
      return { message: `Invalid value at '${param}'.`, param, code: 'invalid_value' };
    }
    case 'invalid_type':
      if (/received undefined/.test(issue.message)) {
        return {
          message: `Missing required parameter: '${param}'.`,
          param,
          code: 'missing_required_parameter',
        };
      }
      return {
        message: `Invalid type for '${param}': expected ${issue.expected}, but got another type instead.`,
        param,
        code: 'invalid_type',
      };
    case 'invalid_value': {
      const values = issue.values.map((value) => `'${String(value)}'`).join(', ');
      return { message: `Invalid value. Supported values are: ${values}.`, param, code: 'invalid_value' };
    }
    case 'too_small':
    case 'too_big':
      return sizeProblem(issue, param);
    default:
      return { message: `Invalid '${param}': ${issue.message}.`, param, code: 'invalid_value' };
  }
}

function sizeProblem(issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig, param: string): Problem {
  const isSmall = issue.code === 'too_small';
  const limit = isSmall ? `>= ${issue.minimum}` : `<= ${issue.maximum}`;
  if (issue.origin === 'string') {
    const message = `Invalid '${param}': string too ${isSmall ? 'short' : 'long'}. Expected a string with length ${limit}.`;
    return { message, param, code: isSmall ? 'string_below_min_length' : 'string_above_max_length' };
  }
  const kind = ['temperature', 'top_p'].includes(param) ? 'decimal' : 'integer';
  const side = isSmall ? 'below minimum' : 'above maximum';
  return {
    message: `Invalid '${param}': ${kind} ${side} value. Expected a value ${limit}.`,
    param,
    code: `${kind}_${isSmall ? 'below_min' : 'above_max'}_value`,
  };
}

function nameOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (name, step) =>
      typeof step === 'number' ? `${name}[${step}]` : name === '' ? String(step) : `${name}.${String(step)}`,
    '',
  );
}
