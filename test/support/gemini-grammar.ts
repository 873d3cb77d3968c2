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

const ends: Record<string, ReadAnswer['end']> = {
  STOP: 'stop',
  MAX_TOKENS: 'length',
  SAFETY: 'content-filter',
};

/** A streamed answer of Gemini: responses, of which the last has the reason why it ended. */
export function readGeminiStream(body: string): ReadAnswer {
  // Some clients break on comments; a slow stream is kept alive by line ends.
  must(!/^:/m.test(body), 'a comment');
  const blocks = sseBlocks(body.trimStart().replaceAll(/\n{3,}/g, '\n\n'));
  for (const { event } of blocks) must(event === undefined, `an event line: ${event}`);
  return readResponses(blocks.map(({ data }) => jsonOf(data)));
}

/** The same as one JSON array, which has to be whole. */
export function readGeminiArray(body: string): ReadAnswer {
  const responses = JSON.parse(body) as unknown;
  must(Array.isArray(responses), 'the stream is no array');
  return readResponses(responses.map((response) => fieldsOf(response, 'a response')));
}

/** A whole answer of Gemini. */
export function readGeminiAnswer(body: Fields): ReadAnswer {
  return readResponses([body]);
}

function readResponses(responses: readonly Fields[]): ReadAnswer {
  let text = '';
  let reasoning = '';
  const calls: ReadCall[] = [];
  const sources: string[] = [];
  let end: ReadAnswer['end'] | undefined;
  let usage: ReadUsage | undefined;
  let head: string | undefined;
  const said = () => ({ text, reasoning, calls, sources });

  function readPart(part: Fields): void {
    if ('thoughtSignature' in part) wordAt(part, 'thoughtSignature');
    if ('functionCall' in part) {
      must(!('text' in part), 'a part is a call and text');
      const call = fieldsOf(part['functionCall'], 'functionCall');
      const made = { id: wordAt(call, 'id'), name: wordAt(call, 'name') };
      must(!calls.some(({ id }) => id === made.id), `the call id ${made.id} comes twice`);
      calls.push({ ...made, arguments: JSON.stringify(fieldsOf(call['args'], 'args')) });
    } else if ('thought' in part) {
      must(part['thought'] === true, 'a thought that is none');
      reasoning += textAt(part, 'text');
    } else text += textAt(part, 'text');
  }

  function readCandidate(candidate: Fields): void {
    must(countAt(candidate, 'index') === 0, 'the index of the candidate is not 0');
    const content = fieldsOf(candidate['content'], 'content');
    must(content['role'] === 'model', 'the role is not model');
    const parts = listAt(content, 'parts');
    for (const part of parts) readPart(fieldsOf(part, 'a part'));
    must(parts.length > 0 || responses.length === 1, 'a response without parts');
    if ('groundingMetadata' in candidate) {
      const grounding = fieldsOf(candidate['groundingMetadata'], 'groundingMetadata');
      for (const chunk of listAt(grounding, 'groundingChunks')) {
        sources.push(wordAt(fieldsOf(fieldsOf(chunk, 'a chunk')['web'], 'web'), 'uri'));
      }
    }
    if (!('finishReason' in candidate)) return;
    const reason = wordAt(candidate, 'finishReason');
    const known = ends[reason];
    must(known !== undefined, `finishReason ${reason} is unknown`);
    end = known === 'stop' && calls.length > 0 ? 'tool-calls' : known;
  }

  for (const [position, response] of responses.entries()) {
    must(end === undefined, 'a response after the last');
    if ('error' in response) {
      must(position === responses.length - 1, 'something after an error');
      return { ...said(), end: 'error', error: readGeminiError(response) };
    }
    const same = JSON.stringify([wordAt(response, 'responseId'), wordAt(response, 'modelVersion')]);
    head ??= same;
    must(head === same, 'responseId or modelVersion change within the stream');
    if ('promptFeedback' in response) {
      wordAt(fieldsOf(response['promptFeedback'], 'promptFeedback'), 'blockReason');
      end = 'content-filter';
    } else {
      const candidates = listAt(response, 'candidates');
      must(candidates.length === 1, `${candidates.length} candidates`);
      readCandidate(fieldsOf(candidates[0], 'a candidate'));
    }
    if ('usageMetadata' in response) {
      usage = readGeminiUsage(fieldsOf(response['usageMetadata'], 'usageMetadata'));
    }
  }
  must(end !== undefined, 'it ends without finishReason and without an error');
  return { ...said(), end, ...(usage && { usage }) };
}

function readGeminiUsage(usage: Fields): ReadUsage {
  const input = countAt(usage, 'promptTokenCount');
  // Those of the thoughts are counted apart in this dialect.
  const thoughts = 'thoughtsTokenCount' in usage ? countAt(usage, 'thoughtsTokenCount') : 0;
  const output = countAt(usage, 'candidatesTokenCount') + thoughts;
  must(countAt(usage, 'totalTokenCount') === input + output, 'the total is no sum');
  const cached = 'cachedContentTokenCount' in usage ? countAt(usage, 'cachedContentTokenCount') : 0;
  return { input, output, cached };
}

export function readGeminiError(body: Fields): { code: string; message: string } {
  const error = fieldsOf(body['error'], 'error');
  must(countAt(error, 'code') >= 400, 'the code is no status');
  return { code: wordAt(error, 'status'), message: wordAt(error, 'message') };
}
