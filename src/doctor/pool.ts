import { randomUUID } from 'node:crypto';
import { PoolError } from '../pool-api/errors.ts';
import type { Pool, PoolAdmin, PoolHealth } from '../pool-api/pool.ts';
import { judge, refusalOf } from '../pool-api/readiness.ts';
import { type Finding, ok, problem, skipped } from './report.ts';

const mostNamed = 5;

export async function lookAtPool(
  admin: Pick<PoolAdmin, 'status' | 'listAccounts'>,
  borrower: Pick<Pool, 'allocate' | 'release' | 'health'>,
  offersSandbox: boolean,
  usePoolService: boolean,
  answering: readonly string[],
): Promise<Finding[]> {
  const { pool_stats: stats, sandbox } = await admin.status();
  if (stats.total === 0) {
    const add = 'warp2api account add --provider warp --api-key -';
    const message = `there is none yet; add one: ${add}`;
    const finding = offersSandbox
      ? ok('accounts', `${message} (until then the built-in sandbox answers)`)
      : problem('accounts', message);
    return sandbox ? [finding, await lendOne(borrower)] : [finding];
  }
  const counts = `${stats.total}, of which ${stats.available} can be lent now`;
  const findings: Finding[] = [];
  if (stats.available > 0) findings.push(ok('accounts', counts));
  else if (stats.in_use > 0) findings.push(ok('accounts', `${counts}; ${stats.in_use} are in use`));
  else {
    const why = '"warp2api account list" shows why and until when; add more';
    findings.push(problem('accounts', `${counts}: ${why}`));
  }
  const health = await borrower.health();
  findings.push(...lookAtTurns(health, answering));
  if (stats.reauth_required > 0) {
    const { accounts } = await admin.listAccounts({ status: 'reauth_required', limit: mostNamed });
    const names = accounts.map((one) => `${one.email || one.label || one.id} (${refusalOf(one)})`).join(', ');
    const more = stats.reauth_required > accounts.length ? ', …' : '';
    const advice = 'give it with "warp2api account replace" or "warp2api account login"';
    findings.push(
      problem(
        'logins',
        `${stats.reauth_required === 1 ? '1 needs' : `${stats.reauth_required} need`} a new key or login: ${names}${more}; ${advice}`,
      ),
    );
  }
  if (usePoolService) findings.push(...lookAtStanding(health));
  findings.push(stats.available > 0 ? await lendOne(borrower) : skipped('lease', 'no account is free'));
  return findings;
}

/** Whether a gateway of this configuration can answer turns with them: there may be accounts that only programs can use. */
function lookAtTurns({ accounts }: PoolHealth, answering: readonly string[]): Finding[] {
  if (accounts === undefined) return [];
  const verdict = judge(accounts, answering);
  if (verdict.isReady) return [ok('turns', 'the gateway has accounts to answer them with')];
  return [verdict.isPassing ? skipped('turns', verdict.reason) : problem('turns', verdict.reason)];
}

/** Whether the pool knows a gateway of this configuration, whose process may be another, as one. */
function lookAtStanding({ caller, gatewayOnly }: PoolHealth): Finding[] {
  if (caller === undefined) return [];
  if (caller === 'gateway') return [ok('gateway key', 'the pool knows a gateway by it')];
  const message =
    'the pool does not know a gateway with these settings as one: set the same GATEWAY_KEY for both, or let them share DATA_DIR on one machine';
  if (gatewayOnly === 0) return [ok('gateway key', `${message}; until then its reports are checked`)];
  return [
    problem(
      'gateway key',
      `${message}; until then it is not lent ${gatewayOnly} accounts that are for gateways only`,
    ),
  ];
}

async function lendOne(borrower: Pick<Pool, 'allocate' | 'release'>): Promise<Finding> {
  const session_id = `doctor-${randomUUID().slice(0, 8)}`;
  try {
    const lease = await borrower.allocate({ session_id, exclusive: false, ttl_seconds: 10 });
    const { released } = await borrower.release({ session_id });
    const { provider = 'none' } = lease.accounts[0] ?? {};
    if (released === 1) return ok('lease', `an account of ${provider} was lent and came back`);
    return problem('lease', `an account was lent, but ${released} came back; the lease expires in 10 s`);
  } catch (error) {
    if (!(error instanceof PoolError)) throw error;
    return problem('lease', error.message);
  }
}
