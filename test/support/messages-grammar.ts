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
import type { ReadAnswer, ReadUsage } from './stream-grammar.ts';

const ends: Record<string, ReadAnswer['end']> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  tool_use: 'tool-calls',
  refusal: 'content-filter',
};

type Block = { text: string; readonly sources: string[] } & (
  | { readonly type: 'text' | 'thinking' }
  | { readonly type: 'tool_use'; readonly id: string; readonly name: string }
);

/** A streamed answer of Anthropic Messages. */
export function readMessagesStream(body: string): ReadAnswer {
  const events = sseBlocks(body).map((block) => {
    const fields = jsonOf(block.data);
    must(block.event === fields['type'], `the event line says ${block.event}, the data ${fields['type']}`);
    return { type: wordAt(fields, 'type'), fields };
  });
  const blocks: Block[] = [];
  let open: Block | undefined;
  let isStarted = false;
  let delta: { end: ReadAnswer['end']; stopSequence?: string; usage: ReadUsage } | undefined;

  for (const [position, { type, fields }] of events.entries()) {
    const isLast = position === events.length - 1;
    if (type === 'error') {
      must(isLast, 'something after an error');
      must(delta === undefined, 'an error after message_delta');
      return { ...saidIn(blocks), end: 'error', error: readMessagesError(fields) };
    }
    must(isStarted === (type !== 'message_start'), `${type} before or after its time`);
    must(delta === undefined || type === 'message_stop', `${type} after message_delta`);
    switch (type) {
      case 'message_start':
        isStarted = true;
        checkStart(fieldsOf(fields['message'], 'message'));
        break;
      case 'ping':
        break;
      case 'content_block_start':
        must(open === undefined, 'a block begins inside another one');
        must(countAt(fields, 'index') === blocks.length, `block ${blocks.length} has another index`);
        open = beginBlock(fieldsOf(fields['content_block'], 'content_block'));
        blocks.push(open);
        break;
      case 'content_block_delta':
        must(
          open !== undefined && countAt(fields, 'index') === blocks.length - 1,
          'a delta of no open block',
        );
        open.text += deltaText(open, fieldsOf(fields['delta'], 'delta'));
        break;
      case 'content_block_stop':
        must(open !== undefined && countAt(fields, 'index') === blocks.length - 1, 'no such block is open');
        open = undefined;
        break;
      case 'message_delta':
        must(open === undefined, 'message_delta inside a block');
        delta = readDelta(fields);
        break;
      case 'message_stop':
        must(delta !== undefined, 'message_stop without message_delta');
        must(isLast, 'something after message_stop');
        return { ...saidIn(blocks), ...delta };
      default:
        must(false, `the event ${type} is unknown`);
    }
  }
  throw new Error('The stream is not well-formed: it ends without message_stop and without an error');
}

function checkStart(message: Fields): void {
  wordAt(message, 'id');
  wordAt(message, 'model');
  must(message['type'] === 'message' && message['role'] === 'assistant', 'message_start holds no message');
  must(listAt(message, 'content').length === 0, 'message_start has content');
  must(message['stop_reason'] === null && message['stop_sequence'] === null, 'it stops as it starts');
  readMessagesUsage(fieldsOf(message['usage'], 'usage'));
}

function beginBlock(block: Fields): Block {
  const type = wordAt(block, 'type');
  if (type === 'text' || type === 'thinking') {
    must(textAt(block, type) === '', `a block of ${type} begins with text`);
    return { type, text: '', sources: [] };
  }
  must(type === 'tool_use', `a block of ${type}`);
  must(Object.keys(fieldsOf(block['input'], 'input')).length === 0, 'a call begins with its input');
  return { type, id: wordAt(block, 'id'), name: wordAt(block, 'name'), text: '', sources: [] };
}

function deltaText(open: Block, delta: Fields): string {
  const type = wordAt(delta, 'type');
  if (type === 'citations_delta') {
    must(open.type === 'text', 'a citation outside of text');
    const citation = fieldsOf(delta['citation'], 'a citation');
    must(citation['type'] === 'web_search_result_location', 'a citation of another type');
    open.sources.push(wordAt(citation, 'url'));
    return '';
  }
  if (type === 'signature_delta') {
    must(open.type === 'thinking', 'a signature outside thinking');
    textAt(delta, 'signature');
    return '';
  }
  const fitting = { text: 'text_delta', thinking: 'thinking_delta', tool_use: 'input_json_delta' }[open.type];
  must(type === fitting, `${type} in a block of ${open.type}`);
  return textAt(delta, { text: 'text', thinking: 'thinking', tool_use: 'partial_json' }[open.type]);
}

function readDelta(fields: Fields) {
  const delta = fieldsOf(fields['delta'], 'delta');
  const reason = wordAt(delta, 'stop_reason');
  const end = ends[reason];
  must(end !== undefined, `stop_reason ${reason} is unknown`);
  must('stop_sequence' in delta, 'message_delta without stop_sequence');
  must(
    (reason === 'stop_sequence') === (delta['stop_sequence'] !== null),
    'stop_sequence and stop_reason differ',
  );
  return {
    end,
    ...(reason === 'stop_sequence' ? { stopSequence: wordAt(delta, 'stop_sequence') } : {}),
    usage: readMessagesUsage(fieldsOf(fields['usage'], 'usage')),
  };
}

function readMessagesUsage(usage: Fields): ReadUsage {
  const cached = countAt(usage, 'cache_read_input_tokens');
  // Cached tokens are counted apart in this dialect.
  return { input: countAt(usage, 'input_tokens') + cached, output: countAt(usage, 'output_tokens'), cached };
}

export function readMessagesError(body: Fields): { code: string; message: string } {
  must(body['type'] === 'error', 'an error without its type');
  const error = fieldsOf(body['error'], 'error');
  return { code: wordAt(error, 'type'), message: wordAt(error, 'message') };
}

function saidIn(blocks: readonly Block[]): Pick<ReadAnswer, 'text' | 'reasoning' | 'calls' | 'sources'> {
  const joined = (type: Block['type']) =>
    blocks.map((block) => (block.type === type ? block.text : '')).join('');
  const calls = blocks.flatMap((block) =>
    block.type === 'tool_use' ? [{ id: block.id, name: block.name, arguments: block.text }] : [],
  );
  return {
    text: joined('text'),
    reasoning: joined('thinking'),
    calls,
    sources: blocks.flatMap(({ sources }) => sources),
  };
}

/** A whole answer of Messages. */
export function readMessagesAnswer(body: Fields): ReadAnswer {
  must(body['type'] === 'message' && body['role'] === 'assistant', 'the answer is no message');
  wordAt(body, 'id');
  wordAt(body, 'model');
  const blocks = listAt(body, 'content').map((value): Block => {
    const block = fieldsOf(value, 'a block');
    const type = wordAt(block, 'type');
    if (type === 'text' || type === 'thinking') return { type, text: textAt(block, type), sources: [] };
    must(type === 'tool_use', `a block of ${type}`);
    const input = JSON.stringify(fieldsOf(block['input'], 'input'));
    return { type, id: wordAt(block, 'id'), name: wordAt(block, 'name'), text: input, sources: [] };
  });
  return { ...saidIn(blocks), ...readDelta({ delta: body, usage: body['usage'] }) };
}
