import type { IncomingHttpHeaders } from 'node:http';

/**
 * The headers by which a trace goes on from one service to the next (W3C Trace Context). The types of the client library have
 * them, which draw in nothing of the services.
 */
export interface TraceHeaders {
  readonly traceparent: string;
  readonly tracestate?: string;
}

/** As they came: whether they are valid is for the one who goes on with the trace. */
export function traceHeadersIn({ traceparent, tracestate }: IncomingHttpHeaders): TraceHeaders | undefined {
  if (typeof traceparent !== 'string') return undefined;
  return typeof tracestate === 'string' ? { traceparent, tracestate } : { traceparent };
}
