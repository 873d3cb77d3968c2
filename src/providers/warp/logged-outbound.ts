import type { Outbound } from '../../core/protocol.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { createWarpOutbound } from '../../protocols/warp/outbound.ts';

/** Warp's protocol, with what an answer held that was passed over in the log. */
export function createLoggedOutbound({ now }: Clock, logger: Logger): Outbound {
  return createWarpOutbound({
    now,
    onAnomaly(anomaly, { upstreamRequestId, detail }) {
      // What no version of this program knows yet is of no use to an operator.
      const level = anomaly.startsWith('unknown-') ? 'debug' : 'info';
      logger[level](
        { anomaly, detail, upstream_request_id: upstreamRequestId },
        'an odd event of the upstream',
      );
    },
  });
}
