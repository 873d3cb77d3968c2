import { randomUUID } from 'node:crypto';
import { PoolError } from '../pool-api/errors.ts';
import type { Pool, PoolAdmin } from '../pool-api/pool.ts';
import { type Finding, ok, problem, skipped } from './report.ts';

const mostNamed = 5;

/** The accounts, and one lease with its return. */
export async function lookAtPool(
  admin: Pick<PoolAdmin, 'status' | 'listAccounts'>,
  borrower: Pick<Pool, 'allocate' | 'release'>,
  offersSandbox: boolean,
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
    findings.push(
      problem('accounts', `${counts}: "warp2api account list" shows why and until when; add more`),
    );
  }
  if (stats.reauth_required > 0) {
    const { accounts } = await admin.listAccounts({ status: 'reauth_required', limit: mostNamed });
    const names = accounts.map(({ id, email }) => email ?? id).join(', ');
    const more = stats.reauth_required > accounts.length ? ', …' : '';
    findings.push(
      problem('logins', `${stats.reauth_required} need a new key or login from their owner: ${names}${more}`),
    );
  }
  findings.push(stats.available > 0 ? await lendOne(borrower) : skipped('lease', 'no account is free'));
  return findings;
}

async function lendOne(borrower: Pick<Pool, 'allocate' | 'release'>): Promise<Finding> {
  // As a gateway's session: then accounts that are lent to gateways only will do as well.
  const session_id = `gateway:doctor-${randomUUID().slice(0, 8)}`;
  try {
    const lease = await borrower.allocate({ session_id, exclusive: false, ttl_seconds: 10 });
    const { released } = await borrower.release({ session_id });
    const { provider = 'none' } = lease.accounts[0] ?? {};
    if (released === 1) return ok('lease', `an account of ${provider} was lent and came back`);
    return problem(
      'lease',
      `an account was lent, but ${released} came back; it comes back by itself in 10 s`,
    );
  } catch (error) {
    if (!(error instanceof PoolError)) throw error;
    return problem('lease', error.message);
  }
}
