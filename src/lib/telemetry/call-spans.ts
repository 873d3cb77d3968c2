import type { FastifyInstance } from 'fastify';
import type { Clock } from '../clock.ts';
import type { Telemetry } from './telemetry.ts';
import { traceHeadersIn } from './trace-headers.ts';

/** A span for each call that comes with a trace: the others are of no turn. */
export function recordCallSpans(app: FastifyInstance, telemetry: Telemetry, clock: Pick<Clock, 'now'>): void {
  app.addHook('onResponse', ({ method, headers, routeOptions, id }, reply, done) => {
    done();
    const given = traceHeadersIn(headers);
    const begun = given && telemetry.begin(given);
    const { url } = routeOptions;
    if (!begun?.isSampled || url === undefined) return;
    const { statusCode } = reply;
    const endedAt = clock.now();
    telemetry.record(begun.parent, begun.context, {
      name: `${method} ${url}`,
      kind: 'server',
      startedAt: endedAt - reply.elapsedTime,
      endedAt,
      attributes: {
        'http.request.method': method,
        'http.route': url,
        'http.response.status_code': statusCode,
        'warp2api.request.id': id,
        ...(statusCode >= 500 && { 'error.type': String(statusCode) }),
      },
      events: [],
      failure: statusCode >= 500 ? `HTTP ${statusCode}` : undefined,
    });
  });
}
