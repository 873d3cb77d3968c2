import type { AnswerIdentity, CollectedTurn, StreamEncoder } from '../../core/protocol.ts';
import type { FinishReason, TurnEvent, Usage } from '../../core/turn.ts';
import { encodeOpenaiError } from '../openai-error.ts';
import type { ChatOptions } from './decode-request.ts';

const finishReasons: Record<FinishReason, string> = {
  stop: 'stop',
  length: 'length',
  'tool-calls': 'tool_calls',
  'content-filter': 'content_filter',
};

export function encodeChatAnswer(identity: AnswerIdentity, answer: CollectedTurn): string {
  const hasCalls = answer.toolCalls.length > 0;
  return JSON.stringify({
    id: identity.id,
    object: 'chat.completion',
    created: identity.created,
    model: identity.model,
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: hasCalls && answer.text === '' ? null : answer.text,
          refusal: null,
          ...(answer.reasoning === '' ? {} : { reasoning_content: answer.reasoning }),
          ...(hasCalls
            ? {
                tool_calls: answer.toolCalls.map((call) => ({
                  id: call.id,
                  type: 'function',
                  function: { name: call.name, arguments: call.arguments },
                })),
              }
            : {}),
        },
        logprobs: null,
        finish_reason: finishReasons[answer.finishReason],
      },
    ],
    ...(answer.usage ? { usage: encodeUsage(answer.usage) } : {}),
    ...(identity.systemFingerprint === undefined ? {} : { system_fingerprint: identity.systemFingerprint }),
  });
}

/** One chunk an event: what stays the same in every chunk is built once. */
export function createChatStreamEncoder(identity: AnswerIdentity, options: ChatOptions): StreamEncoder {
  const fingerprint =
    identity.systemFingerprint === undefined
      ? ''
      : `,"system_fingerprint":${JSON.stringify(identity.systemFingerprint)}`;
  const head = `data: {"id":${JSON.stringify(identity.id)},"object":"chat.completion.chunk","created":${identity.created},"model":${JSON.stringify(identity.model)}${fingerprint},"choices":[`;
  const usageNull = options.includeUsage ? ',"usage":null' : '';
  const open = `${head}{"index":0,"delta":`;
  const close = `,"logprobs":null,"finish_reason":null}]${usageNull}}\n\n`;
  const textOpen = `${open}{"content":`;
  const textClose = `}${close}`;
  let isStarted = false;
  let usage: Usage | undefined;

  function encodeOne(event: TurnEvent): string {
    switch (event.type) {
      case 'text-delta':
        return textOpen + JSON.stringify(event.text) + textClose;
      case 'reasoning-delta':
        return `${open}{"reasoning_content":${JSON.stringify(event.text)}}${close}`;
      case 'tool-call-start':
        return `${open}{"tool_calls":[{"index":${event.index},"id":${JSON.stringify(event.id)},"type":"function","function":{"name":${JSON.stringify(event.name)},"arguments":""}}]}${close}`;
      case 'tool-call-delta':
        return `${open}{"tool_calls":[{"index":${event.index},"function":{"arguments":${JSON.stringify(event.arguments)}}}]}${close}`;
      case 'usage':
        usage = event.usage;
        return '';
      case 'finish': {
        const last = `${open}{},"logprobs":null,"finish_reason":"${finishReasons[event.reason]}"}]${usageNull}}\n\n`;
        const figures =
          options.includeUsage && usage ? `${head}],"usage":${JSON.stringify(encodeUsage(usage))}}\n\n` : '';
        return `${last}${figures}data: [DONE]\n\n`;
      }
      case 'error':
        // The stream ends here without [DONE]: no client may take what came before for a whole answer.
        return `data: ${encodeOpenaiError(event.error)}\n\n`;
      default:
        return '';
    }
  }

  return {
    keepAlive: ': keep-alive\n\n',
    encode(events) {
      let text = '';
      for (const event of events) {
        if (event.type === 'start' || event.type === 'tool-call-end') continue;
        if (!isStarted && event.type !== 'usage' && event.type !== 'error') {
          isStarted = true;
          text += `${open}{"role":"assistant","content":""}${close}`;
        }
        text += encodeOne(event);
      }
      return text;
    },
  };
}

function encodeUsage(usage: Usage) {
  return {
    prompt_tokens: usage.inputTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.inputTokens + usage.outputTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedInputTokens ?? 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: usage.reasoningTokens ?? 0, audio_tokens: 0 },
  };
}
