import type {
  AssistantPart,
  Cacheable,
  DocumentPart,
  ImagePart,
  Message,
  TextPart,
  ToolCallPart,
  ToolResultPart,
} from '../../core/turn.ts';
import { argumentsObject, resultsByCall } from '../shared/calls.ts';
import { givenThinking, type PlacedThinking } from './thinking-proof.ts';

/** A block of content. A mark says that the request may be cached up to its end. */
export type Block = { readonly type: string; cache_control?: object; readonly [field: string]: unknown };

export interface EncodedMessage {
  readonly role: 'user' | 'assistant';
  readonly content: Block[];
}

/** Anthropic wants a message of the user first, and at least one. */
const opening: Block = { type: 'text', text: 'Go on.' };

export function encodeMessages(messages: readonly Message[], model: string) {
  const encoder = new MessageEncoder(messages, model);
  for (const message of messages) encoder.add(message);
  return encoder.encoded();
}

class MessageEncoder {
  readonly #model: string;
  /** Those that no call was found for yet. */
  readonly #results: ReadonlyMap<string, ToolResultPart[]>;
  /** Up to which number each was looked for. */
  readonly #ids = new Map<string, number>();
  readonly #called = new Set<string>();
  readonly #system: Block[] = [];
  readonly #messages: EncodedMessage[] = [];
  #hasThinking = false;
  #lacksThinking = false;

  constructor(messages: readonly Message[], model: string) {
    this.#model = model;
    this.#results = resultsByCall(messages);
  }

  add(message: Message): void {
    switch (message.role) {
      case 'system':
        this.#system.push(...message.parts.flatMap(textBlocks));
        break;
      case 'user':
        if (this.#messages.at(-1)?.role !== 'user') this.#lacksThinking = false;
        this.#push('user', message.parts.flatMap(inputBlocks));
        break;
      case 'assistant':
        this.#addAnswer(message.parts);
        break;
      case 'tool':
        // Results stand right behind their calls, wherever they came.
        break;
    }
  }

  /** `called`: names of the tools that were called. */
  encoded() {
    const last = this.#messages.at(-1);
    if (last?.role === 'assistant') trimEnd(last.content);
    if (this.#messages[0]?.role !== 'user')
      this.#messages.unshift({ role: 'user', content: [{ ...opening }] });
    return {
      system: this.#system,
      messages: this.#messages.filter(({ content }) => content.length > 0),
      hasThinking: this.#hasThinking,
      lacksThinking: this.#lacksThinking,
      called: this.#called,
    };
  }

  #push(role: EncodedMessage['role'], blocks: readonly Block[]): void {
    if (blocks.length === 0) return;
    const last = this.#messages.at(-1);
    if (last?.role === role) last.content.push(...blocks);
    else this.#messages.push({ role, content: [...blocks] });
  }

  #addAnswer(parts: readonly AssistantPart[]): void {
    const thinking = givenThinking(
      this.#model,
      parts.filter((part) => part.type === 'reasoning'),
    );
    const said = new SaidBlocks(thinking);
    const results: Block[] = [];
    for (const part of parts) {
      if (part.type === 'reasoning') continue;
      if (part.type !== 'tool-call') said.addText({ ...part, type: 'text' });
      else {
        const { call, answer } = this.#call(part);
        results.push(...answer);
        said.addCall(call);
      }
    }
    // Thinking alone would be an answer that says nothing.
    if (said.isEmpty) return;
    this.#push('assistant', said.ended());
    this.#push('user', results);
    if (thinking.length > 0) this.#hasThinking = true;
    if (results.length > 0) this.#lacksThinking = thinking.length === 0;
  }

  #call(part: ToolCallPart): { readonly call: Block; readonly answer: Block[] } {
    const id = this.#newId(part.id);
    const { name } = part;
    this.#called.add(name);
    const result = this.#results.get(part.id)?.shift();
    return {
      call: { type: 'tool_use', id, name, input: argumentsObject(part.arguments), ...markOf(part) },
      answer: result ? [resultBlock(id, result)] : [],
    };
  }

  /** Ids have few characters to choose from, and none comes twice. Very many may be alike. */
  #newId(given: string): string {
    const plain = given.replace(/[^A-Za-z0-9_-]/g, '_');
    let count = this.#ids.get(plain) ?? 1;
    let id = plain;
    for (; this.#ids.has(id); id = `${plain}_${count}`) count += 1;
    this.#ids.set(id, 1);
    if (id !== plain) this.#ids.set(plain, count);
    return id;
  }
}

/** The blocks of an answer with its thinking where it was: Anthropic refuses thinking that has moved. */
class SaidBlocks {
  readonly #blocks: Block[] = [];
  /** What has its place further on. */
  readonly #thinking: PlacedThinking[];
  isEmpty = true;
  /** So far. */
  #characters = 0;
  #calls = 0;

  constructor(thinking: readonly PlacedThinking[]) {
    this.#thinking = [...thinking];
  }

  addText(part: TextPart): void {
    const start = this.#characters;
    const end = start + part.text.length;
    let from = start;
    for (let next = this.#nextUpTo(end); next; next = this.#nextUpTo(end)) {
      const to = Math.max(from, Math.min(next.place[0], end));
      this.#put(textBlocks({ type: 'text', text: part.text.slice(from - start, to - start) }));
      this.#blocks.push({ ...next.block });
      from = to;
    }
    this.#put(textBlocks({ ...part, text: part.text.slice(from - start) }));
    this.#characters = end;
  }

  addCall(call: Block): void {
    this.#addThinking();
    this.#put([call]);
    this.#calls += 1;
  }

  /** Anthropic refuses an answer that ends with thinking. */
  ended(): readonly Block[] {
    return this.#blocks.slice(0, this.#blocks.findLastIndex(({ type }) => !/thinking$/.test(type)) + 1);
  }

  #nextUpTo(characters: number): PlacedThinking | undefined {
    const [next] = this.#thinking;
    const isNext = next && next.place[1] <= this.#calls && next.place[0] < characters;
    return isNext ? this.#thinking.shift() : undefined;
  }

  /** All that comes before another call. */
  #addThinking(): void {
    for (let [next] = this.#thinking; next && next.place[1] <= this.#calls; [next] = this.#thinking) {
      this.#blocks.push({ ...next.block });
      this.#thinking.shift();
    }
  }

  #put(blocks: readonly Block[]): void {
    if (blocks.length > 0) this.isEmpty = false;
    this.#blocks.push(...blocks);
  }
}

/** Blank texts are refused. */
function textBlocks({ text, ...part }: Omit<TextPart, 'type'> & { readonly type: 'text' }): Block[] {
  return text.trim() === '' ? [] : [{ type: 'text', text, ...markOf(part) }];
}

function inputBlocks(part: TextPart | ImagePart | DocumentPart): Block[] {
  if (part.type === 'text') return textBlocks(part);
  const source = { type: 'base64', media_type: part.mediaType, data: part.data };
  const title = part.type === 'document' && part.name !== undefined ? { title: part.name } : {};
  return [{ type: part.type, source, ...title, ...markOf(part) }];
}

function resultBlock(id: string, result: ToolResultPart): Block {
  const { text, images = [], documents = [], isError } = result;
  const content = [...textBlocks({ type: 'text', text }), ...[...images, ...documents].flatMap(inputBlocks)];
  return {
    type: 'tool_result',
    tool_use_id: id,
    ...(content.length > 0 && { content }),
    ...(isError && { is_error: true }),
    ...markOf(result),
  };
}

/** Anthropic has two lifetimes. */
export function markOf({ cacheBreakpoint: mark }: Cacheable): Pick<Block, 'cache_control'> {
  if (!mark) return {};
  return { cache_control: { type: 'ephemeral', ...((mark.ttlSeconds ?? 0) > 300 && { ttl: '1h' }) } };
}

/** The beginning of the answer that is asked for may not end with blanks. */
function trimEnd(content: Block[]): void {
  const last = content.at(-1);
  const text = last?.['text'];
  if (last?.type === 'text' && typeof text === 'string')
    content[content.length - 1] = { ...last, text: text.trimEnd() };
}
