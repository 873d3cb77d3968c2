import type { DecodedTurn } from '../../core/protocol.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import { affinityKey } from '../affinity-key.ts';
import type { ChatOptions } from './decode-request.ts';

/**
 * A request for an upstream that speaks this dialect too: nothing is read of it but where it goes and what comes back, since the
 * upstream judges the rest. Undefined for one that names no model.
 */
export function readRelayedChat(body: unknown, text: string): DecodedTurn<ChatOptions> | undefined {
  if (!isJsonObject(body)) return undefined;
  const { model, stream, stream_options: given, n } = body;
  if (typeof model !== 'string' || model === '' || model.length > 256) return undefined;
  const isStream = stream === true;
  const includeUsage = isJsonObject(given) && given['include_usage'] === true;
  return {
    request: {
      model,
      messages: [],
      tools: [],
      toolChoice: { type: 'auto' },
      parallelToolCalls: true,
      sampling: {},
      limits: {},
      responseFormat: { type: 'text' },
      reasoning: {},
    },
    isStream,
    options: { includeUsage, customTools: new Set() },
    ignored: [],
    relayed: { dialect: 'chat', body: text, isStream, includeUsage, choices: typeof n === 'number' ? n : 1 },
    ...affinityKey(body['prompt_cache_key']),
  };
}
