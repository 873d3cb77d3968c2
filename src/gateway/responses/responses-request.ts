import { hkdfSync } from 'node:crypto';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { DecodedTurn } from '../../core/protocol.ts';
import type { HeldBody } from '../../lib/http/body-budget.ts';
import { HttpFault } from '../../lib/http/http-fault.ts';
import { readLargeJson, readSmallJson } from '../../lib/http/json-body.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import { largeBytes, ownTurn } from '../../lib/process/own-turn.ts';
import { sealBytes, unsealBytes } from '../../lib/secrets/sealed-bytes.ts';
import {
  decodeResponsesRequest,
  inputItems,
  parseResponsesRequest,
} from '../../protocols/openai-responses/decode-request.ts';
import type { Opaque, ResponsesOptions } from '../../protocols/openai-responses/response.ts';
import {
  isItemReference,
  type RawItem,
  type ResponsesRequest,
} from '../../protocols/openai-responses/schema.ts';
import { quoted } from '../../protocols/shared/request.ts';
import { type Continued, nothingBefore, type StoredResponses } from './stored-responses.ts';

/** A request of the Responses dialect with all it refers to. */
export interface ReadRequest {
  readonly asked: ResponsesRequest;
  readonly decoded: DecodedTurn<ResponsesOptions>;
  readonly before: Continued;
}

/** Finds what a request continues where no store has it. */
export type FindRecent = (id: string) => Continued | undefined;

/** What it continues counts as its body does. Throws AppError naming the field at fault, or HttpFault. */
export async function readResponsesRequest(
  responses: StoredResponses,
  clientId: string,
  body: unknown,
  held: HeldBody | null,
  findRecent: FindRecent = () => undefined,
): Promise<ReadRequest> {
  const asked = parseResponsesRequest(body);
  const previous = asked.previous_response_id;
  const before = previous
    ? (findRecent(previous) ?? (await responses.continueFrom(clientId, previous, asked.store !== false)))
    : nothingBefore;
  held?.add(before.bytes);
  await ownTurn(before.bytes);
  const input = await resolveReferences(responses, clientId, inputItems(asked), before);
  const opaque = createOpaque(clientId);
  const firstResponseId = before.ancestors[0];
  const decoded = decodeResponsesRequest(asked, { history: before.items, input, opaque, firstResponseId });
  return { asked, before, decoded };
}

/**
 * Whether the body is complete: it stores nothing, refers to nothing that is stored here, and carries nothing that this gateway
 * sealed. Then an upstream of the dialect may get it as it is.
 */
export function needsNothingKept(body: unknown, opaque: Opaque): boolean {
  if (!isJsonObject(body)) return false;
  const { store, background, previous_response_id: previous, input } = body;
  if (store !== false || background === true || previous) return false;
  if (!Array.isArray(input)) return true;
  return !input.filter(isJsonObject).some((item) => {
    const { encrypted_content: sealed } = item;
    return isItemReference(item) || (typeof sealed === 'string' && opaque.open(sealed) !== undefined);
  });
}

/** Stored responses that one request may have looked up; items of further ones are not found. */
const mostLooked = 500;

/** The response an item's id was made from, see `itemId`, and `inputItemId` for items that came without one. */
const itemIdPattern = /^[a-z]+_([0-9a-f]{32})\d+$/;

function inputItemId(responseId: string, index: number): string {
  return `item_${responseId.replace(/^resp_/, '')}${index}`;
}

async function resolveReferences(
  responses: StoredResponses,
  clientId: string,
  input: readonly RawItem[],
  before: Continued,
): Promise<readonly RawItem[]> {
  if (!input.some(isItemReference)) return input;
  const known = new Map<string, RawItem>();
  const looked = new Set<string>();
  const learn = (items: readonly unknown[]): void => {
    for (const item of items as RawItem[]) if (typeof item['id'] === 'string') known.set(item['id'], item);
  };
  learn(before.items);
  const resolved: RawItem[] = [];
  for (const [index, item] of input.entries()) {
    if (!isItemReference(item)) {
      resolved.push(item);
      continue;
    }
    const hex = itemIdPattern.exec(item.id)?.[1];
    if (!known.has(item.id) && hex !== undefined && !looked.has(hex) && looked.size < mostLooked) {
      looked.add(hex);
      const id = `resp_${hex}`;
      // One that is not there holds no item either, and the item is what the client asked for.
      const stored = await responses.find(clientId, id);
      if (stored) {
        learn(stored.response['output'] as RawItem[]);
        if (item.id.startsWith('item_')) learn(await listInputItems(responses, clientId, id));
      }
    }
    const found = known.get(item.id);
    // Of an earlier one the conversation can do without: a note replaces it.
    if (found === undefined && index === input.length - 1) {
      throw new AppError(
        'not_found',
        `input.${index}.id: there is no item ${quoted(item.id)} in a stored response of this key: send the item itself.`,
        { param: `input.${index}.id` },
      );
    }
    resolved.push(found ?? item);
  }
  return resolved;
}

/** What a response was made from, in the form clients list it: every item has an id and a type, contents are parts. */
export async function listInputItems(
  responses: StoredResponses,
  clientId: string,
  id: string,
): Promise<(RawItem & { readonly id: string })[]> {
  const items = await responses.inputOf(clientId, id);
  const seen = new Set<unknown>();
  return items.map((item, index) => {
    const given = item['id'];
    // Clients that resend an item may have two of one name: a page could not tell which of them it begins after.
    const isOwn = typeof given === 'string' && given !== '' && !seen.has(given);
    seen.add(given);
    return {
      ...item,
      type: item['type'] ?? 'message',
      id: isOwn ? given : inputItemId(id, index),
      ...(typeof item['content'] === 'string' ? { content: [textPart(item['role'], item['content'])] } : {}),
    } as RawItem & { readonly id: string };
  });
}

function textPart(role: unknown, text: string) {
  return role === 'assistant' ? { type: 'output_text', text, annotations: [] } : { type: 'input_text', text };
}

const createMessage = z.looseObject({
  type: z.literal('response.create'),
  stream_id: z.string().max(256).nullish(),
  generate: z.boolean().nullish(),
  background: z.boolean().nullish(),
});
/** A request as it comes over a WebSocket. */
export type SocketMessage = z.infer<typeof createMessage>;

const what = 'The message';

/** The message, or a promise of a large one. Throws AppError naming what is wrong with it, as the promise does. */
export function readMessage(data: Buffer, isBinary: boolean): SocketMessage | Promise<SocketMessage> {
  if (isBinary) throw new AppError('invalid_request', 'Messages are text frames that hold JSON.');
  if (data.length >= largeBytes) return readLargeJson(data, what).then(messageOf, refuse);
  try {
    return messageOf(readSmallJson({ parts: [data], what }));
  } catch (error) {
    return refuse(error);
  }
}

function messageOf(value: unknown): SocketMessage {
  const parsed = createMessage.safeParse(value);
  if (parsed.success) return parsed.data;
  const param = parsed.error.issues[0]?.path.join('.') || 'type';
  throw new AppError(
    'invalid_request',
    param === 'type'
      ? 'type: must be "response.create", with the fields of POST /v1/responses beside it.'
      : `${param}: ${parsed.error.issues[0]?.message}`,
    { param },
  );
}

function refuse(error: unknown): never {
  throw error instanceof HttpFault ? new AppError('invalid_request', error.message) : error;
}

/** A history may be full of texts that other providers sealed; after this many in one request no further one is tried. */
const mostForeign = 10_000;

/**
 * Text a client carries for us and sends back: sealed with AES-256-GCM under a key derived from its own client key. So
 * every instance can read it, after a restart too, with nothing to keep or to lose; other clients can neither read nor
 * make one. That a client could read its own is no harm: it is its own conversation.
 */
export function createOpaque(clientId: string): Opaque {
  let key: Buffer | undefined;
  let foreign = 0;
  const keyOf = (): Buffer => {
    key ??= Buffer.from(hkdfSync('sha256', clientId, '', 'warp2api text that clients carry', 32));
    return key;
  };
  return {
    seal: (text) => sealBytes(keyOf(), Buffer.from(text)).toString('base64url'),
    open(text) {
      if (foreign >= mostForeign) return undefined;
      try {
        return unsealBytes(keyOf(), Buffer.from(text, 'base64url')).toString('utf8');
      } catch {
        // Another key's, or changed on the way.
        foreign += 1;
        return undefined;
      }
    },
  };
}
