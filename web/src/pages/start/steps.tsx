import type { z } from 'zod';
import type { ShownKeys } from '../../../../src/core/shown-key.ts';
import type { ShownTurn } from '../../../../src/core/shown-turn.ts';
import type { UsageTurn } from '../../../../src/core/shown-usage.ts';
import type { healthAnswer } from '../../../../src/gateway/http/api-answers.ts';
import type { StatusAnswer } from '../../../../src/pool-api/owner-schema.ts';
import { ApiError, api, useLoaded } from '../../api.ts';
import { Icon } from '../../components/icon.tsx';
import { Card, Fault, Loading } from '../../components/page.tsx';
import { shownNumber } from '../../format.ts';
import { accountChanges, turnChanges } from '../../live.ts';
import { linkTo, type PageId } from '../../navigation.ts';
import { session } from '../../session.ts';
import { startText } from '../../texts/start.ts';

type Health = z.infer<typeof healthAnswer>;

interface Step {
  readonly id: string;
  readonly title: string;
  readonly detail: string;
  readonly state: 'done' | 'open' | 'optional';
  readonly action?: { readonly label: string; readonly page: PageId };
}

interface Found {
  readonly health: Health | undefined;
  /** Undefined where the pool could not be asked; `fault` says why. */
  readonly status: StatusAnswer | undefined;
  readonly fault: string | undefined;
  /** Of the first page. */
  readonly keys: number | undefined;
  readonly hasMoreKeys: boolean;
  readonly hasTurn: boolean;
  readonly gateway: string | undefined;
}

const everyMs = 15_000;

async function find(isGateway: boolean, abort: AbortSignal): Promise<Found> {
  const [health, pool, keys, hasTurn, front] = await Promise.all([
    isGateway ? api.get<Health>('/health', {}, abort) : undefined,
    api.get<StatusAnswer>('/api/accounts/status', {}, abort).catch((error: unknown) => {
      if (error instanceof ApiError && error.code !== 'unreachable') return error.message;
      throw error;
    }),
    isGateway ? api.get<ShownKeys>('/api/keys', { limit: 100 }, abort) : undefined,
    isGateway && hasAnswered(abort),
    isGateway ? undefined : api.get<{ gateway?: string }>('/', {}, abort),
  ]);
  return {
    health,
    status: typeof pool === 'string' ? undefined : pool,
    fault: typeof pool === 'string' ? pool : undefined,
    keys: keys?.keys.length,
    hasMoreKeys: (keys?.next_before ?? null) !== null,
    hasTurn,
    gateway: front?.gateway,
  };
}

/** In the memory of the gateway, else in its ledger, which outlives a restart. */
async function hasAnswered(abort: AbortSignal): Promise<boolean> {
  const query = { outcome: 'success', limit: 1 };
  const recent = await api.get<{ turns: readonly ShownTurn[] }>('/api/turns', query, abort);
  if (recent.turns.length > 0) return true;
  const ever = { ...query, from: '1970-01-01T00:00:00Z' };
  return (await api.get<{ turns: readonly UsageTurn[] }>('/api/usage/turns', ever, abort)).turns.length > 0;
}

export interface FoundSteps {
  readonly list: readonly Step[] | undefined;
  readonly error: ApiError | undefined;
  /** Undefined until that is known. */
  readonly isKeyNeeded: boolean | undefined;
  readonly retry: () => void;
}

export function useSteps(): FoundSteps {
  const isGateway = session.value?.service === 'gateway';
  const loaded = useLoaded(
    (abort) => find(isGateway, abort),
    [isGateway],
    everyMs,
    () => accountChanges.value + turnChanges.value,
  );
  const found = loaded.value.value;
  return {
    list: found && [...stepsOf(found, isGateway)],
    error: found ? undefined : loaded.error.value,
    isKeyNeeded: found && (session.value?.state !== 'open' || (found.keys ?? 0) > 0),
    retry: () => void loaded.reload(),
  };
}

function* stepsOf(
  { health, status, fault, keys, hasMoreKeys, hasTurn, gateway }: Found,
  isGateway: boolean,
): Generator<Step> {
  const text = startText();
  if (health) {
    const isThere = health.pool.reachable && health.pool.accepts_key;
    const detail = isThere ? text.poolTodo : (health.reason ?? text.poolTodo);
    yield { id: 'pool', title: text.pool, detail, state: isThere ? 'done' : 'open' };
  }
  const total = status?.pool_stats.total ?? 0;
  const available = status?.pool_stats.available ?? 0;
  const isEmpty = total === 0 || status?.sandbox === true;
  const todo = fault ?? [text.accountTodo, status?.sandbox ? text.accountSandbox : ''].join(' ').trim();
  yield {
    id: 'account',
    title: text.account,
    detail: isEmpty ? todo : text.accountDone(shownNumber(total)),
    state: isEmpty ? 'open' : 'done',
    ...(fault === undefined ? { action: { label: text.addAccount, page: 'accounts' } } : {}),
  };
  if (!isEmpty) {
    const isUsable = (status?.reason ?? null) === null;
    yield {
      id: 'usable',
      title: text.usable,
      detail: isUsable ? text.usableDone(shownNumber(available)) : (status?.reason ?? ''),
      state: isUsable ? 'done' : 'open',
      action: { label: text.lookAtAccounts, page: 'accounts' },
    };
  }
  if (isGateway) {
    yield {
      id: 'keys',
      title: text.keys,
      detail: keys ? text.keysDone(`${shownNumber(keys)}${hasMoreKeys ? '+' : ''}`) : text.keysTodo,
      state: keys ? 'done' : 'optional',
      action: { label: text.makeKey, page: 'keys' },
    };
    yield {
      id: 'turn',
      title: text.turn,
      detail: hasTurn ? text.turnDone : text.turnTodo,
      state: hasTurn ? 'done' : 'open',
      ...(hasTurn ? { action: { label: text.lookAtTurns, page: 'turns' } } : {}),
    };
  } else {
    yield {
      id: 'gateway',
      title: text.gatewayHere,
      detail: gateway === undefined ? text.gatewayAway : `${text.gatewayAt} ${gateway}`,
      state: gateway === undefined ? 'optional' : 'done',
    };
  }
}

export function Steps({ list, error, retry }: FoundSteps) {
  const text = startText();
  if (error) return <Fault error={error} retry={retry} />;
  if (!list) return <Loading />;
  const next = list.find(({ state }) => state === 'open') ?? list.find(({ state }) => state === 'optional');
  return (
    <Card title={text.steps} class="steps-card">
      <ol class="steps divided">
        {list.map((step) => {
          const isNext = step === next;
          const word =
            step.state === 'done'
              ? text.done
              : isNext && step.state === 'open'
                ? text.next
                : step.state === 'optional'
                  ? text.optional
                  : text.open;
          return (
            <li key={step.id} class={`step ${step.state} ${isNext ? 'next' : ''}`}>
              <span class="step-mark">
                {step.state === 'done' && <Icon name="check" />}
                <span class="read-out">{word}</span>
              </span>
              <div>
                <h3>{step.title}</h3>
                <p class="quiet">{step.detail}</p>
              </div>
              {step.action && (
                <a class={`button ${isNext ? 'primary' : 'quiet'}`} href={linkTo(step.action.page)}>
                  {step.action.label}
                </a>
              )}
            </li>
          );
        })}
      </ol>
    </Card>
  );
}
