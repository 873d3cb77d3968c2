import type { Outbound } from '../../core/protocol.ts';
import { classifyFailure } from './classify-failure.ts';
import { type OnAnomaly, WarpDecoder } from './decode-stream.ts';
import { encodeRequest, imageLimits, newInputOf } from './encode-request.ts';

export interface WarpOutboundOptions {
  /** Called for what an answer held that was passed over. */
  readonly onAnomaly?: OnAnomaly;
  /** Milliseconds since 1970; for Retry-After dates. */
  readonly now?: () => number;
}

/** Speaks Warp's agent protocol: protobuf up, protobuf in server-sent events down. */
export function createWarpOutbound(options: WarpOutboundOptions = {}): Outbound {
  const { onAnomaly, now = Date.now } = options;
  return {
    contentType: 'text/event-stream',
    open(turn) {
      const { request } = turn;
      const input = newInputOf(turn);
      const body = encodeRequest(request, input);
      return {
        request: {
          method: 'POST',
          path: '/ai/multi-agent',
          headers: { 'content-type': 'application/x-protobuf', accept: 'text/event-stream' },
          body,
        },
        decoder: new WarpDecoder({
          tools: request.tools,
          remembered: input.remembered,
          requestBytes: body.length,
          ...(onAnomaly && { onAnomaly }),
        }),
      };
    },
    classifyFailure: (response) => classifyFailure(response, now()),
    images: imageLimits,
    capabilities: new Set(),
    hasMemory: true,
  };
}
