import {
  countAt,
  type Fields,
  fieldsOf,
  jsonOf,
  listAt,
  must,
  type SseBlock,
  sseBlocks,
  textAt,
  wordAt,
} from './sse-blocks.ts';
import type { ReadAnswer, ReadUsage } from './stream-grammar.ts';

const ends: Record<string, ReadAnswer['end']> = {
  stop: 'stop',
  length: 'length',
  tool_calls: 'tool-calls',
  content_filter: 'content-filter',
};

function sourceOf(annotation: unknown): string {
  const { url_citation: cited } = fieldsOf(annotation, 'an annotation');
  return wordAt(fieldsOf(cited, 'url_citation'), 'url');
}

/** A streamed answer of Chat Completions. */
export function readChatStream(body: string): ReadAnswer {
  const blocks = sseBlocks(body);
  const calls: { id: string; name: string; arguments: string }[] = [];
  let text = '';
  let reasoning = '';
  const sources: string[] = [];
  let hasRole = false;
  let end: ReadAnswer['end'] | undefined;
  let usage: ReadUsage | undefined;
  let head: string | undefined;

  function readDelta(delta: Fields): void {
    must('role' in delta === !hasRole, 'the role belongs into the first delta, and there alone');
    if ('role' in delta) must(delta['role'] === 'assistant', 'the role is not assistant');
    hasRole = true;
    if (delta['content'] !== undefined && delta['content'] !== null) text += textAt(delta, 'content');
    if ('annotations' in delta) sources.push(...listAt(delta, 'annotations').map(sourceOf));
    if ('reasoning_content' in delta) reasoning += textAt(delta, 'reasoning_content');
    if ('tool_calls' in delta) for (const fragment of listAt(delta, 'tool_calls')) readFragment(fragment);
  }

  function readFragment(value: unknown): void {
    const fragment = fieldsOf(value, 'a fragment of a call');
    const index = countAt(fragment, 'index');
    const inner = fieldsOf(fragment['function'], 'the function of a fragment');
    if (index === calls.length) {
      must(fragment['type'] === 'function', `the first fragment of call ${index} has no type`);
      const begun = { id: wordAt(fragment, 'id'), name: wordAt(inner, 'name'), arguments: '' };
      must(!calls.some(({ id }) => id === begun.id), `the call id ${begun.id} comes twice`);
      calls.push(begun);
    } else must(!('id' in fragment) && !('name' in inner), `call ${index} is named again`);
    const call = calls[index];
    must(call !== undefined, `a fragment of call ${index}, which has not begun`);
    call.arguments += textAt(inner, 'arguments');
  }

  function readChunk(chunk: Fields): void {
    must(chunk['object'] === 'chat.completion.chunk', 'the object is no chunk');
    const same = JSON.stringify([wordAt(chunk, 'id'), countAt(chunk, 'created'), wordAt(chunk, 'model')]);
    head ??= same;
    must(head === same, 'id, created or model change within the stream');
    const choices = listAt(chunk, 'choices');
    must(choices.length <= 1, 'more than one choice in a chunk');
    if (chunk['usage'] !== undefined && chunk['usage'] !== null) {
      must(usage === undefined, 'usage comes twice');
      must(choices.length === 0 && end !== undefined, 'usage belongs into a last chunk without choices');
      usage = readChatUsage(fieldsOf(chunk['usage'], 'usage'));
      return;
    }
    must(choices.length === 1, 'a chunk without choices and usage');
    must(end === undefined, 'a choice after finish_reason');
    const choice = fieldsOf(choices[0], 'a choice');
    must(countAt(choice, 'index') === 0, 'the index of the choice is not 0');
    readDelta(fieldsOf(choice['delta'], 'a delta'));
    if (choice['finish_reason'] === null) return;
    end = ends[textAt(choice, 'finish_reason')];
    must(end !== undefined, `finish_reason ${String(choice['finish_reason'])} is unknown`);
  }

  function isLast(block: SseBlock): boolean {
    return block === blocks.at(-1);
  }

  for (const block of blocks) {
    must(block.event === undefined, 'this dialect names no events');
    if (block.data === '[DONE]') {
      must(end !== undefined, '[DONE] without finish_reason');
      must(isLast(block), 'something after [DONE]');
      return { text, reasoning, calls, sources, end, ...(usage === undefined ? {} : { usage }) };
    }
    const chunk = jsonOf(block.data);
    if ('error' in chunk) {
      must(end === undefined, 'an error after finish_reason');
      must(isLast(block), 'something after an error');
      return { text, reasoning, calls, end: 'error', error: readOpenaiError(chunk) };
    }
    readChunk(chunk);
  }
  throw new Error('The stream is not well-formed: it ends without [DONE] and without an error');
}

function readChatUsage(usage: Fields): ReadUsage {
  const input = countAt(usage, 'prompt_tokens');
  const output = countAt(usage, 'completion_tokens');
  must(countAt(usage, 'total_tokens') === input + output, 'total_tokens is not the sum');
  const details = fieldsOf(usage['prompt_tokens_details'], 'prompt_tokens_details');
  return { input, output, cached: countAt(details, 'cached_tokens') };
}

/** The error object of OpenAI's dialects, whole. */
export function readOpenaiError(body: Fields): { code: string; message: string } {
  const error = fieldsOf(body['error'], 'error');
  must('param' in error && 'code' in error, 'an error without param and code');
  const type = wordAt(error, 'type');
  return { code: error['code'] === null ? type : wordAt(error, 'code'), message: wordAt(error, 'message') };
}

/** A whole answer of Chat Completions. */
export function readChatAnswer(body: Fields): ReadAnswer {
  must(body['object'] === 'chat.completion', 'the object is no completion');
  wordAt(body, 'id');
  wordAt(body, 'model');
  countAt(body, 'created');
  const choices = listAt(body, 'choices');
  must(choices.length === 1, `${choices.length} choices`);
  const choice = fieldsOf(choices[0], 'a choice');
  must(countAt(choice, 'index') === 0, 'the index of the choice is not 0');
  const message = fieldsOf(choice['message'], 'message');
  must(message['role'] === 'assistant', 'the role is not assistant');
  const end = ends[textAt(choice, 'finish_reason')];
  must(end !== undefined, `finish_reason ${String(choice['finish_reason'])} is unknown`);
  const calls = ((message['tool_calls'] ?? []) as unknown[]).map((value) => {
    const call = fieldsOf(value, 'a call');
    must(call['type'] === 'function', 'a call without its type');
    const inner = fieldsOf(call['function'], 'function');
    return { id: wordAt(call, 'id'), name: wordAt(inner, 'name'), arguments: textAt(inner, 'arguments') };
  });
  return {
    text: message['content'] === null ? '' : textAt(message, 'content'),
    reasoning: 'reasoning_content' in message ? textAt(message, 'reasoning_content') : '',
    calls,
    sources: listAt(message, 'annotations').map(sourceOf),
    end,
    usage: readChatUsage(fieldsOf(body['usage'], 'usage')),
  };
}
