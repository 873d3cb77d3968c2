import type { IncomingHttpHeaders } from 'node:http';
import type { DecodedTurn, Inbound } from '../../core/protocol.ts';
import { relayingOutbound } from '../../core/provider.ts';
import type { HeldBody } from '../../lib/http/body-budget.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import { onceKnown } from '../../lib/tasks.ts';
import type { ClientKey } from '../keys/client-key.ts';
import type { RoutePlan } from '../models/route.ts';
import type { Routes } from '../models/routing.ts';
import { affinityKeyOf } from '../turn/affinity.ts';

/** Of a request. */
interface AskedBody {
  readonly body: unknown;
  readonly heldBody: Pick<HeldBody, 'takeText'> | null;
  readonly client: ClientKey;
  readonly headers: IncomingHttpHeaders;
}

interface DecodedBody<Options> {
  readonly decoded: DecodedTurn<Options>;
  readonly plan?: RoutePlan | undefined;
}

/**
 * A body that goes to an upstream of its own dialect is the upstream's to judge: it is decoded only for another one. `random` draws
 * among candidates.
 */
export function decodeTurn<Options>(
  routes: Routes,
  inbound: Inbound<Options>,
  { body, heldBody, client, headers }: AskedBody,
  random?: () => number,
): DecodedBody<Options> | Promise<DecodedBody<Options>> {
  const text = heldBody?.takeText();
  const isRelayable = text !== undefined && fieldOfOthers(client, body) === undefined;
  const open = isRelayable ? inbound.readRelayed?.(body, text, headers) : undefined;
  if (!open || text === undefined) return { decoded: inbound.decode(body) };
  const affinityKey = affinityKeyOf(headers) ?? open.affinityKey;
  const turn = { client, affinityKey, decoded: open, body };
  const planned = planOf(routes, open.request, turn, random);
  return onceKnown(planned, (plan) => decodedFor(plan, inbound, body, open, text));
}

/** Undefined where planning fails: the error shows when the decoded request is planned. */
function planOf(
  routes: Routes,
  ...[request, turn, random]: Parameters<Routes['plan']>
): RoutePlan | undefined | Promise<RoutePlan | undefined> {
  try {
    return routes.planNow(request, turn) ?? routes.plan(request, turn, random).catch(() => undefined);
  } catch {
    return undefined;
  }
}

/** What upstreams read further models in, and those that take a name in any case read `model` in. */
const modelFields = /^(models?|fallbacks)$/iu;

/** The field of a body by which a key that is for some models could reach another one: such a body is not passed on as it is. */
export function fieldOfOthers({ managed }: ClientKey, body: unknown): string | undefined {
  if (!managed?.models || !isJsonObject(body)) return undefined;
  return Object.keys(body).find((name) => name !== 'model' && modelFields.test(name));
}

function decodedFor<Options>(
  plan: RoutePlan | undefined,
  inbound: Inbound<Options>,
  body: unknown,
  open: DecodedTurn<Options>,
  text: string,
): DecodedBody<Options> {
  const mayRelay = plan?.candidates.some(({ provider }) =>
    relayingOutbound(provider, { dialect: inbound.name }),
  );
  if (!mayRelay) {
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
