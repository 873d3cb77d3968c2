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
  const blocks = [...tools, ...system, ...messages.flatMap(({ content }) => content)];
  const marked = blocks.filter(({ cache_control: mark }) => mark !== undefined);
  for (const block of marked.slice(0, -mostMarks)) delete block.cache_control;
  const kept = marked.slice(-mostMarks);
  const short = kept.findIndex(({ cache_control: mark }) => mark && !('ttl' in mark));
  const behindShort = short === -1 ? [] : kept.slice(short);
  for (const block of behindShort) block.cache_control = { type: 'ephemeral' };
  if (marked.length > 0 || !isAutomatic) return;
  const turns = messages.filter(({ role }) => role === 'user').slice(-2);
  for (const list of [tools, system, ...turns.map(({ content }) => content)]) {
    const last: Markable | undefined = list.at(-1);
    if (last) last.cache_control = { type: 'ephemeral' };
  }
}
