import type { Block, EncodedMessage } from './encode-message.ts';

/** Anthropic refuses a request with more. */
const mostMarks = 4;

export interface Markable {
  cache_control?: object;
}

interface MarkedRequest {
  readonly tools: readonly Markable[];
  readonly system: readonly Block[];
  readonly messages: readonly EncodedMessage[];
}

/**
 * Where the client has set no mark: behind the tools, the rules and the last two turns of the user, so that the next request finds what
 * this one has written. Of a client's own marks the last ones stay, and none lives longer than one before it: Anthropic refuses
 * that.
 */
export function placeMarks({ tools, system, messages }: MarkedRequest, isAutomatic: boolean): void {
  const marked: Markable[] = [];
  const gather = (blocks: readonly Markable[]): void => {
    for (const block of blocks) if (block.cache_control !== undefined) marked.push(block);
  };
  gather(tools);
  gather(system);
  for (const { content } of messages) gather(content);
  if (marked.length === 0) {
    if (isAutomatic) markEnds({ tools, system, messages });
    return;
  }
  for (const block of marked.slice(0, -mostMarks)) delete block.cache_control;
  const kept = marked.slice(-mostMarks);
  const short = kept.findIndex(({ cache_control: mark }) => mark && !('ttl' in mark));
  const behindShort = short === -1 ? [] : kept.slice(short);
  for (const block of behindShort) block.cache_control = { type: 'ephemeral' };
}

function markEnds({ tools, system, messages }: MarkedRequest): void {
  markLast(tools);
  markLast(system);
  let turns = 0;
  for (let at = messages.length - 1; at >= 0 && turns < 2; at -= 1) {
    const { role, content = [] } = messages[at] ?? {};
    if (role !== 'user') continue;
    turns += 1;
    markLast(content);
  }
}

function markLast(blocks: readonly Markable[]): void {
  const last = blocks.at(-1);
  if (last) last.cache_control = { type: 'ephemeral' };
}
