// What a simulated vendor has to find in the requests of one client's run, beyond what it refuses itself.
import { z } from 'zod';
import type { SeenRequest } from '../../sandbox/vendor/vendor.ts';
import type { VendorName } from '../vendors.ts';

const list = z.array(z.record(z.string(), z.unknown())).catch([]);
const text = z.string().min(1);
const marked = (block: object) => 'cache_control' in block && Boolean(block.cache_control);

/** What the model thought, and proved: whether a request brings it back with the results of its calls. */
interface Reading {
  /** The request brings results. */
  readonly hasResults: boolean;
  /** A proof of what the model thought came with them. */
  readonly hasProof: boolean;
  /** The model was let think, so that it gave a proof. */
  readonly isThinking: boolean;
  readonly problems?: readonly string[];
}

type Body = Readonly<Record<string, unknown>>;

const readers: Readonly<Record<VendorName, (body: Body, isRelayed: boolean) => Reading>> = {
  chat(body, isRelayed) {
    const messages = list.parse(body['messages']);
    const details = messages.flatMap(({ reasoning_details: details }) => list.parse(details));
    return {
      hasResults: messages.some(({ role }) => role === 'tool'),
      hasProof: details.some(({ signature }) => text.safeParse(signature).success),
      // Clients of the dialect do not know the field of a router of models.
      isThinking: !isRelayed && body['reasoning_effort'] !== 'none',
    };
  },

  responses(body) {
    const items = list.parse(body['input']);
    const includes = z.array(z.string()).catch([]).parse(body['include']);
    const { effort } = z.object({ effort: z.string().nullish() }).catch({}).parse(body['reasoning']);
    return {
      hasResults: items.some(({ type }) => type === 'function_call_output'),
      hasProof: items.some(
        ({ type, encrypted_content: proof }) => type === 'reasoning' && text.safeParse(proof).success,
      ),
      isThinking: effort !== 'none' && includes.includes('reasoning.encrypted_content'),
    };
  },

  anthropic(body, isRelayed) {
    const blocks = blocksOf(body);
    const { type } = z.object({ type: z.string() }).catch({ type: '' }).parse(body['thinking']);
    return {
      hasResults: blocks.some((block) => block['type'] === 'tool_result'),
      hasProof: blocks.some(({ signature }) => text.safeParse(signature).success),
      isThinking: type === 'enabled' || type === 'adaptive',
      problems: cacheProblems(body, isRelayed),
    };
  },

  gemini(body) {
    const parts = list.parse(body['contents']).flatMap((content) => list.parse(content['parts']));
    const calls = parts.filter((part) => part['functionCall'] !== undefined);
    return {
      hasResults: parts.some((part) => part['functionResponse'] !== undefined),
      hasProof: calls.some(({ thoughtSignature: proof }) => text.safeParse(proof).success && !isSkip(proof)),
      isThinking: true,
    };
  },
};

/** It is taken in a signature's place for calls that another model made. */
const isSkip = (proof: unknown) => proof === 'skip_thought_signature_validator';

function blocksOf(body: Body) {
  return list.parse(body['messages']).flatMap((message) => list.parse(message['content']));
}

/** A client that speaks to Anthropic itself marks what it likes, and something at least. */
function cacheProblems(body: Body, isRelayed: boolean): string[] {
  const tools = list.parse(body['tools']);
  const system = list.parse(body['system']);
  const lastUser = list.parse(body['messages']).findLast(({ role }) => role === 'user') ?? {};
  const last = list.parse(lastUser['content']);
  const places = { tools, system, 'the last user turn': last };
  const bare = Object.entries(places).filter(([, blocks]) => blocks.length > 0 && !blocks.some(marked));
  if (isRelayed) return bare.length === Object.keys(places).length ? ['marked nothing for the cache'] : [];
  const unmarked = bare.map(([place]) => `did not mark ${place} for the cache`);
  return typeof lastUser['content'] === 'string'
    ? [...unmarked, 'did not mark the last user turn']
    : unmarked;
}

export function vendorProblems(
  vendor: VendorName,
  turns: readonly SeenRequest[],
  isRelayed: boolean,
): string[] {
  const problems: string[] = [];
  let wasThinking = false;
  for (const { status, refusal, text: sent } of turns) {
    if (status !== 200) problems.push(`was answered ${status} ${JSON.stringify(refusal ?? '')}`);
    const reading = readers[vendor](JSON.parse(sent) as Body, isRelayed);
    problems.push(...(reading.problems ?? []));
    if (reading.hasResults && wasThinking && !reading.hasProof) {
      problems.push('brought results without the proof of what the model thought');
    }
    wasThinking ||= reading.isThinking;
  }
  return [...new Set(problems)];
}
