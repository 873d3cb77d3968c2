// What Anthropic refuses although its form is right.
import { signatureOf } from '../vendor/scenarios.ts';
import type { Block, CountRequest, MessagesRequest } from './request.ts';

type Checked = MessagesRequest | CountRequest;

/** Throws the vendor's sentence. */
class Refused extends Error {}

function refuseIf(condition: boolean, message: string): void {
  if (condition) throw new Refused(message);
}

/** What else decides about a request. */
interface Rules {
  /** The model is one of the newest. */
  readonly isNewest: boolean;
  /** The header names the version of October 2026, which took some fields away. */
  readonly isNewVersion: boolean;
}

/** Why the request is refused; undefined where it is not. */
export function refusalOf(request: Checked, { isNewest, isNewVersion }: Rules): string | undefined {
  try {
    if (isNewVersion) checkVersion(request);
    checkMessages(request);
    checkReferences(request);
    checkCaching(request);
    checkTools(request);
    checkThinking(request, isNewest);
    if ('max_tokens' in request) checkSampling(request, isNewest);
    return undefined;
  } catch (error) {
    if (error instanceof Refused) return error.message;
    throw error;
  }
}

function checkVersion(request: Checked): void {
  const removed = ['temperature', 'top_p', 'top_k'].find((name) => name in request);
  refuseIf(removed !== undefined, `${removed}: Extra inputs are not permitted`);
  for (const { role, blocks } of joinedMessages(request)) {
    for (const { block, at } of blocks) {
      refuseIf(
        role === 'assistant' && block.type === 'document',
        `${at}: \`document\` blocks are not allowed in \`assistant\` messages`,
      );
      const cites = role === 'user' && block.type === 'text' && (block.citations ?? []).length > 0;
      refuseIf(cites, `${at}.citations: citations are not allowed in \`user\` messages`);
    }
  }
}

/** What a search for tools found has to be among the tools. */
function checkReferences({ messages, tools = [] }: Checked): void {
  const names = new Set(tools.flatMap((tool) => ('name' in tool ? [tool.name] : [])));
  for (const { content } of messages) {
    for (const block of blocksOf(content)) {
      if (block.type !== 'tool_result' || !Array.isArray(block.content)) continue;
      for (const part of block.content) {
        const isLost = part.type === 'tool_reference' && !names.has(part.tool_name);
        refuseIf(isLost, `Tool reference '${isLost && part.tool_name}' not found in available tools`);
      }
    }
  }
}

export const prefillRefusal =
  'This model does not support assistant message prefill. The conversation must end with a user message.';

export function blocksOf(content: string | readonly Block[]): readonly Block[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content;
}

export interface Joined {
  readonly role: 'user' | 'assistant';
  /** Where each block stands in the request. */
  readonly blocks: { readonly block: Block; readonly at: string }[];
}

/** Neighbours of one role are one turn; rules of the system between them belong to none. */
export function joinedMessages({ messages }: Checked): Joined[] {
  const joined: Joined[] = [];
  for (const [index, { role, content }] of messages.entries()) {
    if (role === 'system') continue;
    const last = joined.at(-1);
    const turn = last?.role === role ? last : { role, blocks: [] };
    if (turn !== last) joined.push(turn);
    for (const [position, block] of blocksOf(content).entries()) {
      turn.blocks.push({ block, at: `messages.${index}.content.${position}` });
    }
  }
  return joined;
}

function checkMessages(request: Checked): void {
  const { messages } = request;
  refuseIf(messages.length === 0, 'messages: at least one message is required');
  for (const [index, { role, content }] of messages.entries()) {
    const isLast = index === messages.length - 1;
    refuseIf(
      content.length === 0 && !(isLast && role === 'assistant'),
      `messages.${index}: all messages must have non-empty content except for the optional final assistant message`,
    );
    for (const [position, block] of blocksOf(content).entries()) {
      const at = `messages.${index}.content.${position}`;
      refuseIf(block.type === 'text' && block.text === '', 'messages: text content blocks must be non-empty');
      refuseIf(
        block.type === 'tool_reference',
        `${at}: \`tool_reference\` blocks can only be in \`tool_result\` blocks`,
      );
      refuseIf(
        ['tool_addition', 'tool_removal'].includes(block.type) && role !== 'system',
        `${at}: \`${block.type}\` blocks can only be in \`system\` messages`,
      );
      refuseIf(
        ['tool_use', 'thinking', 'redacted_thinking', 'server_tool_use'].includes(block.type) &&
          role !== 'assistant',
        `${at}: \`${block.type}\` blocks can only be in \`assistant\` messages`,
      );
      refuseIf(
        ['tool_result', 'image', 'search_result'].includes(block.type) && role !== 'user',
        `${at}: \`${block.type}\` blocks can only be in \`user\` messages`,
      );
    }
  }
  const joined = joinedMessages(request);
  refuseIf(joined[0]?.role !== 'user', 'messages: first message must use the "user" role');
  checkResults(joined);
  const last = joined.at(-1)?.blocks.at(-1)?.block;
  refuseIf(
    joined.at(-1)?.role === 'assistant' && last?.type === 'text' && /\s$/.test(last.text),
    'messages: final assistant content cannot end with trailing whitespace',
  );
}

function checkResults(joined: readonly Joined[]): void {
  const seen = new Set<string>();
  for (const [index, { role, blocks }] of joined.entries()) {
    const before = joined[index - 1]?.blocks ?? [];
    const calls = before.flatMap(({ block }) => (block.type === 'tool_use' ? [block.id] : []));
    if (role === 'user') {
      const answered: string[] = [];
      let isBehindOthers = false;
      for (const { block, at } of blocks) {
        if (block.type !== 'tool_result') isBehindOthers = true;
        else {
          refuseIf(
            !calls.includes(block.tool_use_id),
            `${at}: unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${block.tool_use_id}. Each \`tool_result\` block must have a corresponding \`tool_use\` block in the previous message.`,
          );
          refuseIf(
            answered.includes(block.tool_use_id),
            `${at}: each tool_use must have a single result. Found multiple \`tool_result\` blocks with id: ${block.tool_use_id}`,
          );
          // A result behind something else does not follow its call immediately.
          if (!isBehindOthers) answered.push(block.tool_use_id);
        }
      }
      const missing = calls.filter((call) => !answered.includes(call));
      refuseIf(
        missing.length > 0,
        `${before.at(-1)?.at ?? 'messages'}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${missing.join(', ')}. Each \`tool_use\` block must have a corresponding \`tool_result\` block in the next message.`,
      );
    }
    for (const { block, at } of blocks) {
      if (block.type !== 'tool_use') continue;
      refuseIf(seen.has(block.id), `${at}: \`tool_use\` ids must be unique`);
      seen.add(block.id);
    }
  }
  const open = (joined.at(-1)?.blocks ?? []).some(({ block }) => block.type === 'tool_use');
  refuseIf(open, `messages.${joined.length - 1}: \`tool_use\` ids were found without \`tool_result\` blocks`);
}

interface Marked {
  readonly cache_control?: { readonly ttl?: '5m' | '1h' | undefined } | null | undefined;
}

/** Everything that may carry a breakpoint, in the order in which it is cached. */
export function cacheable(request: Checked): readonly (Marked & object)[] {
  const system = typeof request.system === 'string' ? [] : (request.system ?? []);
  const inMessages = request.messages.flatMap(({ content }) =>
    blocksOf(content).flatMap((block): Marked[] => {
      const inner = block.type === 'tool_result' && Array.isArray(block.content) ? block.content : [];
      return [...inner, block as Marked];
    }),
  );
  return [...(request.tools ?? []), ...system, ...inMessages];
}

function checkCaching(request: Checked): void {
  const marked = [...cacheable(request), request].filter(({ cache_control: mark }) => mark);
  refuseIf(
    marked.length > 4,
    `A maximum of 4 blocks with cache_control may be provided. Found ${marked.length}.`,
  );
  const ttls = marked.map(({ cache_control: mark }) => mark?.ttl ?? '5m');
  const firstShort = ttls.indexOf('5m');
  refuseIf(
    firstShort >= 0 && ttls.lastIndexOf('1h') > firstShort,
    "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block",
  );
}

function checkTools({ tools = [], tool_choice: choice }: Checked): void {
  const names = tools.flatMap((tool) => ('name' in tool ? [tool.name] : []));
  refuseIf(new Set(names).size !== names.length, 'tools: Tool names must be unique.');
  refuseIf(
    choice !== undefined && tools.length === 0,
    'tool_choice may only be specified while providing tools.',
  );
  refuseIf(
    choice?.type === 'tool' && !names.includes(choice.name),
    `Tool '${choice?.type === 'tool' ? choice.name : ''}' not found in provided tools`,
  );
}

/** What a thinking block must be signed with; the text of what is redacted is nowhere. */
export function signatureFor(thinking: string): string {
  return signatureOf('anthropic', thinking);
}

export const redactedData = signatureOf('anthropic', 'redacted');

function checkThinking(request: Checked, isNewest: boolean): void {
  const { thinking, tool_choice: choice } = request;
  const joined = joinedMessages(request);
  for (const { block, at } of joined.flatMap(({ blocks }) => blocks)) {
    const isForged =
      (block.type === 'thinking' &&
        block.signature !== signatureFor(block.thinking) &&
        block.thinking !== '') ||
      (block.type === 'thinking' && block.thinking === '' && block.signature === '') ||
      (block.type === 'redacted_thinking' && block.data !== redactedData);
    refuseIf(
      isForged,
      block.type === 'thinking'
        ? `${at}: Invalid \`signature\` in \`thinking\` block`
        : `${at}: Invalid \`data\` in \`redacted_thinking\` block`,
    );
  }
  for (const { role, blocks } of joined) {
    const last = blocks.at(-1);
    refuseIf(
      role === 'assistant' && last?.block.type === 'thinking',
      `${last?.at}: The final block in an assistant message cannot be \`thinking\`.`,
    );
  }
  const isForced = choice?.type === 'any' || choice?.type === 'tool';
  if (thinking?.type === 'enabled') {
    refuseIf(
      isNewest,
      '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.',
    );
    refuseIf(
      'max_tokens' in request && request.max_tokens <= thinking.budget_tokens,
      '`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size',
    );
    checkLoopThinks(joined);
  }
  if (thinking?.type === 'enabled' || thinking?.type === 'adaptive') {
    refuseIf(isForced, 'Thinking may not be enabled when tool_choice forces tool use.');
  }
}

/** In a tool loop the last answer has to begin with what it thought. */
function checkLoopThinks(joined: readonly Joined[]): void {
  const isLoop = joined.at(-1)?.blocks.some(({ block }) => block.type === 'tool_result');
  const first = joined.at(-2)?.blocks[0];
  if (!isLoop || first === undefined) return;
  refuseIf(
    first.block.type !== 'thinking' && first.block.type !== 'redacted_thinking',
    `${first.at}.type: Expected \`thinking\` or \`redacted_thinking\`, but found \`${first.block.type}\`. When \`thinking\` is enabled, a final \`assistant\` message must start with a thinking block (preceeding the lastmost set of \`tool_use\` and \`tool_result\` blocks). To avoid this requirement, disable \`thinking\`.`,
  );
}

function checkSampling(request: MessagesRequest, isNewest: boolean): void {
  const { temperature, top_k: topK, top_p: topP, thinking, stop_sequences: stops = [] } = request;
  const isThinking = thinking?.type === 'enabled' || thinking?.type === 'adaptive';
  for (const [name, value] of Object.entries({ temperature, top_p: topP, top_k: topK })) {
    refuseIf(isNewest && value !== undefined, `\`${name}\` is deprecated for this model.`);
  }
  refuseIf(
    temperature !== undefined && topP !== undefined,
    '`temperature` and `top_p` cannot both be specified for this model. Please use only one.',
  );
  refuseIf(
    isThinking && temperature !== undefined && temperature !== 1,
    '`temperature` may only be set to 1 when thinking is enabled.',
  );
  refuseIf(isThinking && topK !== undefined, '`top_k` must be unset when thinking is enabled.');
  refuseIf(
    isThinking && topP !== undefined && topP < 0.95,
    '`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.',
  );
  refuseIf(
    stops.some((stop) => stop.trim() === ''),
    'stop_sequences: each stop sequence must contain non-whitespace',
  );
}
