import { isDeepStrictEqual } from 'node:util';
import {
  countAt,
  type Fields,
  fieldsOf,
  jsonOf,
  listAt,
  must,
  sseBlocks,
  textAt,
  wordAt,
} from './sse-blocks.ts';
import type { ReadAnswer, ReadCall, ReadUsage } from './stream-grammar.ts';

/** How the text of each kind of item travels: the part it stands in, if any, and its events. */
const forms = {
  message: { part: 'content_part', index: 'content_index', delta: 'output_text', text: 'text' },
  reasoning: {
    part: 'reasoning_summary_part',
    index: 'summary_index',
    delta: 'reasoning_summary_text',
    text: 'text',
  },
  function_call: { part: null, index: null, delta: 'function_call_arguments', text: 'arguments' },
  custom_tool_call: { part: null, index: null, delta: 'custom_tool_call_input', text: 'input' },
} as const;

type Kind = keyof typeof forms;

interface Item {
  readonly id: string;
  readonly kind: Kind;
  readonly callId: string | undefined;
  text: string;
  readonly sources: string[];
  /** What has to come before what. */
  stage: 'begun' | 'in-part' | 'text-done' | 'part-done' | 'done';
  done: Fields | undefined;
}

/** A streamed answer of OpenAI Responses. */
export function readResponsesStream(body: string): ReadAnswer {
  const items: Item[] = [];
  let responseId: string | undefined;
  let step = 0;

  function itemOf(fields: Fields): Item {
    const item = items[countAt(fields, 'output_index')];
    must(item !== undefined, 'an event of an item that was not added');
    must(item.id === wordAt(fields, 'item_id'), 'item_id is of another item');
    must(item.stage !== 'done', 'an event of an item that is done');
    return item;
  }

  function readItemEvent(type: string, fields: Fields): void {
    if (type === 'response.output_item.added') {
      must(countAt(fields, 'output_index') === items.length, 'output_index does not follow');
      items.push(begin(fieldsOf(fields['item'], 'item'), items));
      return;
    }
    if (type === 'response.output_item.done') {
      const item = items[countAt(fields, 'output_index')];
      must(item !== undefined, 'an item is done that was not added');
      finishItem(item, fieldsOf(fields['item'], 'item'));
      return;
    }
    const item = itemOf(fields);
    const { part, index, delta, text } = forms[item.kind];
    if (index !== null) must(countAt(fields, index) === 0, `${index} is not 0`);
    switch (type) {
      case `response.${part}.added`:
        must(item.stage === 'begun', 'a part after its time');
        must(textAt(fieldsOf(fields['part'], 'part'), 'text') === '', 'a part begins with text');
        item.stage = 'in-part';
        break;
      case 'response.output_text.annotation.added':
        must(item.kind === 'message' && item.stage === 'in-part', 'an annotation out of its place');
        must(countAt(fields, 'annotation_index') === item.sources.length, 'an annotation does not follow');
        item.sources.push(wordAt(fieldsOf(fields['annotation'], 'annotation'), 'url'));
        break;
      case `response.${delta}.delta`:
        must(item.stage === (part === null ? 'begun' : 'in-part'), 'a delta out of its place');
        item.text += textAt(fields, 'delta');
        break;
      case `response.${delta}.done`:
        must(item.stage === (part === null ? 'begun' : 'in-part'), `${delta} done out of its place`);
        must(textAt(fields, text) === item.text, `${delta} done is not what its deltas were`);
        item.stage = part === null ? 'part-done' : 'text-done';
        break;
      case `response.${part}.done`:
        must(item.stage === 'text-done', 'a part done out of its place');
        must(textAt(fieldsOf(fields['part'], 'part'), 'text') === item.text, 'the part is not its deltas');
        item.stage = 'part-done';
        break;
      default:
        must(false, `${type} is no event of a ${item.kind}`);
    }
  }

  const blocks = sseBlocks(body);
  // The open specification closes a whole stream with this mark; a broken one must not look whole.
  const isMarked = blocks.at(-1)?.data === '[DONE]';
  if (isMarked) must(blocks.pop()?.event === undefined, '[DONE] is no event');
  const events = blocks.map(({ event, data }, number) => {
    const fields = jsonOf(data);
    const type = wordAt(fields, 'type');
    must(event === type, `the event line says ${event}, the data ${type}`);
    must(countAt(fields, 'sequence_number') === number, `sequence_number of event ${number}`);
    return { type, fields };
  });
  for (const [position, { type, fields }] of events.entries()) {
    const isLast = position === events.length - 1;
    switch (type) {
      case 'error':
        must(isLast && !isMarked, 'something after an error');
        must('param' in fields, 'an error without param');
        return {
          ...said(items),
          end: 'error',
          error: { code: wordAt(fields, 'code'), message: wordAt(fields, 'message') },
        };
      case 'response.failed': {
        must(isLast && !isMarked, 'something after response.failed');
        const response = fieldsOf(fields['response'], 'response');
        must(response['status'] === 'failed', 'response.failed of another status');
        const error = fieldsOf(response['error'], 'response.error');
        return {
          ...said(items),
          end: 'error',
          error: { code: wordAt(error, 'code'), message: wordAt(error, 'message') },
        };
      }
      case 'response.created':
      case 'response.in_progress': {
        must(step === (type === 'response.created' ? 0 : 1), `${type} out of its place`);
        step += 1;
        const response = fieldsOf(fields['response'], 'response');
        responseId ??= wordAt(response, 'id');
        must(responseId === response['id'], 'the response changes its id');
        must(response['status'] === 'in_progress', `${type} of another status`);
        must(listAt(response, 'output').length === 0, `${type} has output`);
        countAt(response, 'created_at');
        wordAt(response, 'model');
        break;
      }
      case 'response.completed':
      case 'response.incomplete': {
        must(isLast && isMarked, `${type} is not the last before [DONE]`);
        must(step === 2, `${type} without a beginning`);
        must(
          items.every(({ stage }) => stage === 'done'),
          `${type} before every item is done`,
        );
        const response = fieldsOf(fields['response'], 'response');
        must(response['id'] === responseId, 'the response changes its id');
        must(`response.${response['status']}` === type, `${type} of another status`);
        const whole = items.map(({ done }) => done);
        must(isDeepStrictEqual(response['output'], whole), 'output is not the items that were done');
        return { ...said(items), ...readResponseEnd(response) };
      }
      default:
        must(step === 2, `${type} before response.in_progress`);
        readItemEvent(type, fields);
    }
  }
  throw new Error('The stream is not well-formed: it ends without a terminal event');
}

function begin(item: Fields, before: readonly Item[]): Item {
  const kind = wordAt(item, 'type') as Kind;
  must(kind in forms, `an item of type ${kind}`);
  const id = wordAt(item, 'id');
  must(!before.some((other) => other.id === id), `the item id ${id} comes twice`);
  must(item['status'] === 'in_progress', 'an item is added that is not in progress');
  const isCall = kind === 'function_call' || kind === 'custom_tool_call';
  if (isCall) {
    wordAt(item, 'name');
    must(textAt(item, forms[kind].text) === '', 'a call begins with its input');
  } else must(listAt(item, kind === 'message' ? 'content' : 'summary').length === 0, 'an item begins full');
  const callId = isCall ? wordAt(item, 'call_id') : undefined;
  return { id, kind, callId, text: '', sources: [], stage: 'begun', done: undefined };
}

function finishItem(item: Item, done: Fields): void {
  must(item.stage === 'part-done', 'an item is done before its text');
  must(done['id'] === item.id && done['type'] === item.kind, 'an item is done as another one');
  must(done['status'] === 'completed' || done['status'] === 'incomplete', 'an item is done without a status');
  must(item.callId === undefined || done['call_id'] === item.callId, 'a call changes its call_id');
  must(itemText(done) === item.text, 'an item is not what its deltas were');
  must(isDeepStrictEqual(sourcesIn(done), item.sources), 'an item has other annotations than came');
  item.stage = 'done';
  item.done = done;
}

function itemText(item: Fields): string {
  const kind = item['type'] as Kind;
  if (kind === 'function_call' || kind === 'custom_tool_call') return textAt(item, forms[kind].text);
  const parts = listAt(item, kind === 'message' ? 'content' : 'summary');
  must(parts.length === 1, `${parts.length} parts in an item of one text`);
  const part = fieldsOf(parts[0], 'a part');
  if (kind === 'message') must(Array.isArray(part['annotations']), 'a text without annotations');
  return textAt(part, 'text');
}

function sourcesIn(item: Fields): string[] {
  if (item['type'] !== 'message') return [];
  return listAt(item, 'content').flatMap((part) =>
    listAt(fieldsOf(part, 'a part'), 'annotations').map((annotation) =>
      wordAt(fieldsOf(annotation, 'an annotation'), 'url'),
    ),
  );
}

/** How a whole response object ended. */
function readResponseEnd(response: Fields): Pick<ReadAnswer, 'end' | 'usage'> {
  const usage = fieldsOf(response['usage'], 'usage');
  const input = countAt(usage, 'input_tokens');
  const output = countAt(usage, 'output_tokens');
  must(countAt(usage, 'total_tokens') === input + output, 'total_tokens is not the sum');
  const details = fieldsOf(usage['input_tokens_details'], 'input_tokens_details');
  const read: ReadUsage = { input, output, cached: countAt(details, 'cached_tokens') };
  if (response['status'] === 'incomplete') {
    const { reason } = fieldsOf(response['incomplete_details'], 'incomplete_details');
    must(reason === 'max_output_tokens' || reason === 'content_filter', `incomplete for ${String(reason)}`);
    return { end: reason === 'content_filter' ? 'content-filter' : 'length', usage: read };
  }
  must(response['status'] === 'completed', `the response ends ${String(response['status'])}`);
  const hasCall = listAt(response, 'output').some((item) =>
    String((item as Fields)['type']).endsWith('_call'),
  );
  return { end: hasCall ? 'tool-calls' : 'stop', usage: read };
}

function said(items: readonly Item[]): Pick<ReadAnswer, 'text' | 'reasoning' | 'calls' | 'sources'> {
  const textOf = (kind: Kind) => items.map((item) => (item.kind === kind ? item.text : '')).join('');
  const calls = items.flatMap(({ callId, text, done, kind }): ReadCall[] =>
    callId === undefined ? [] : [{ id: callId, name: String(done?.['name'] ?? kind), arguments: text }],
  );
  const sources = items.flatMap((item) => item.sources);
  return { text: textOf('message'), reasoning: textOf('reasoning'), calls, sources };
}

/** A whole response. */
export function readResponsesAnswer(response: Fields): ReadAnswer {
  must(response['object'] === 'response', 'the object is no response');
  wordAt(response, 'id');
  wordAt(response, 'model');
  countAt(response, 'created_at');
  const items = listAt(response, 'output').map((item) => fieldsOf(item, 'an item'));
  for (const item of items) {
    wordAt(item, 'id');
    must(item['status'] === 'completed' || item['status'] === 'incomplete', 'an item without its end');
  }
  const textOf = (kind: Kind) => items.map((item) => (item['type'] === kind ? itemText(item) : '')).join('');
  const calls = items.flatMap((item): ReadCall[] =>
    item['type'] === 'function_call' || item['type'] === 'custom_tool_call'
      ? [{ id: wordAt(item, 'call_id'), name: wordAt(item, 'name'), arguments: itemText(item) }]
      : [],
  );
  const sources = items.flatMap(sourcesIn);
  return {
    text: textOf('message'),
    reasoning: textOf('reasoning'),
    calls,
    sources,
    ...readResponseEnd(response),
  };
}
