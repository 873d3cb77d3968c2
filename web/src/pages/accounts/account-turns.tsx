import type { ShownTurn } from '../../../../src/core/shown-turn.ts';
import { api, useLoaded } from '../../api.ts';
import { Badge, outcomeTone, Shown } from '../../components/page.tsx';
import { Time } from '../../components/time.tsx';
import { shownDuration } from '../../format.ts';
import { linkTo } from '../../navigation.ts';
import { session } from '../../session.ts';
import { accountDetailsText } from '../../texts/account-details.ts';
import { shownOutcome } from '../turns/shown-names.ts';

interface TurnList {
  readonly turns: readonly ShownTurn[];
}

const reloadMs = 5_000;
const shownTurns = 8;
const mostRunning = 200;

/** How many turns run on each account now. The gateway alone knows them; the pool knows what it lends. */
export function useRunningTurns(): ReadonlyMap<string, number> {
  const isGateway = session.value?.service === 'gateway';
  const query = { outcome: 'running', limit: mostRunning };
  const loaded = useLoaded(
    async (abort) => (isGateway ? await api.get<TurnList>('/api/turns', query, abort) : { turns: [] }),
    [isGateway],
    isGateway ? reloadMs : undefined,
  );
  const counts = new Map<string, number>();
  for (const turn of loaded.value.value?.turns ?? []) {
    const id = turn.attempts.at(-1)?.account_id;
    if (id !== undefined) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

/** The latest turns on an account, those that run among them. */
export function AccountTurns({ id }: { readonly id: string }) {
  const text = accountDetailsText();
  const query = { account: id, limit: shownTurns };
  const loaded = useLoaded((abort) => api.get<TurnList>('/api/turns', query, abort), [id], reloadMs);
  return (
    <Shown of={loaded}>
      {({ turns }) => (
        <ul class="plain">
          {turns.length === 0 && <li class="note">{text.noTurns}</li>}
          {turns.map((turn) => (
            <TurnLine key={turn.request_id} turn={turn} account={id} />
          ))}
        </ul>
      )}
    </Shown>
  );
}

/** A turn that another account answered in the end shows what became of it on this one. */
function TurnLine({ turn, account }: { readonly turn: ShownTurn; readonly account: string }) {
  const { request_id: id, at, model } = turn;
  const attempt = turn.attempts.findLast((one) => one.account_id === account);
  const outcome = attempt ? (attempt.outcome ?? 'running') : turn.outcome;
  const duration = attempt ? attempt.ended_ms && attempt.ended_ms - attempt.started_ms : turn.duration_ms;
  return (
    <li>
      <Badge tone={outcomeTone(outcome)}>{shownOutcome(outcome)}</Badge>{' '}
      <a href={linkTo('turns', [id])}>
        <bdi>{model}</bdi>
      </a>{' '}
      <span class="note">
        <Time at={at} relative /> {duration !== null && `· ${shownDuration(duration)}`}
      </span>
    </li>
  );
}
