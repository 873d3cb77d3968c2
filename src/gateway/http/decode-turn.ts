import type { IncomingHttpHeaders } from 'node:http';
import type { DecodedTurn, Inbound } from '../../core/protocol.ts';
import { relayingOutbound } from '../../core/provider.ts';
import type { ClientKey } from '../keys/client-key.ts';
import type { RoutePlan } from '../models/route.ts';
import type { Routes } from '../models/routing.ts';
import { affinityKeyOf } from '../turn/affinity.ts';

/** Of a request. */
interface AskedBody {
  readonly body: unknown;
  /** The body as it came, where that is kept; it is taken away. */
  readonly heldBody: { text?: string | undefined } | null;
  readonly client: ClientKey;
  readonly headers: IncomingHttpHeaders;
}

/**
 * A body that goes to an upstream of its own dialect is the upstream's to judge: it is decoded only for another one. `random` draws
 * among candidates.
 */
export async function decodeTurn<Options>(
  routes: Routes,
  inbound: Inbound<Options>,
  { body, heldBody, client, headers }: AskedBody,
  random?: () => number,
): Promise<{ readonly decoded: DecodedTurn<Options>; readonly plan?: RoutePlan | undefined }> {
  const text = heldBody?.text;
  const open = text === undefined ? undefined : inbound.readRelayed?.(body, text, headers);
  const affinityKey = affinityKeyOf(headers) ?? open?.affinityKey;
  const planned = open && routes.plan(open.request, { client, affinityKey, decoded: open, body }, random);
  const plan = await planned?.catch(() => undefined);
  const mayRelay = plan?.candidates.some(({ provider }) =>
    relayingOutbound(provider, { dialect: inbound.name }),
  );
  if (heldBody) heldBody.text = undefined;
  if (!open || !mayRelay || text === undefined) {
    const decoded = inbound.decode(body);
    // Beside the name only an effort decides, or images where no model may see them.
    const isSettled =
      decoded.request.reasoning.effort === undefined && plan?.candidates.some(({ isBlind }) => !isBlind);
    return { decoded, plan: isSettled ? plan : undefined };
  }
  let whole: DecodedTurn<Options> | undefined;
  const translated = () => {
    whole ??= inbound.decode(JSON.parse(text));
    return whole;
  };
  return { decoded: { ...open, translated }, plan };
}
