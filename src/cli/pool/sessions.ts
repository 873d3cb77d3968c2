import type { Command } from 'commander';
import type { Session, SessionsAnswer } from '../../pool-api/schema.ts';
import { accountWords, findAccount } from '../account/find-account.ts';
import { formatJson } from '../account/view.ts';
import type { CliActions } from '../actions.ts';
import { wholeNumber } from '../option-values.ts';
import { formatTable } from '../table.ts';

interface SessionsOptions {
  readonly account?: string;
  readonly limit: number;
  readonly json?: true;
}

const pageSize = 500;
const mostNamed = 3;

export function addPoolSessions(parent: Command, actions: CliActions): void {
  parent
    .command('sessions')
    .description('show who holds which accounts, and until when')
    .option('--account <account>', `only those that hold this one: ${accountWords}`)
    .option('--limit <n>', 'at most this many', wholeNumber(1, 1_000_000), 1000)
    .option('--json', 'print {"sessions": [...], "total": n}')
    .addHelpText(
      'after',
      '\nExamples:\n  warp2api pool sessions\n  warp2api pool sessions --account work --json',
    )
    .action(async ({ account, limit, json }: SessionsOptions) => {
      await using admin = await actions.openAdmin();
      const filter = account === undefined ? {} : { account_id: (await findAccount(admin, account)).id };
      const sessions: Session[] = [];
      let page: SessionsAnswer;
      let after: string | null = null;
      do {
        page = await admin.listSessions({
          ...filter,
          limit: Math.min(pageSize, limit - sessions.length),
          ...(after === null ? {} : { after }),
        });
        sessions.push(...page.sessions);
        after = page.next_after;
      } while (after !== null && sessions.length < limit);
      actions.write(json ? formatJson({ sessions, total: page.total }) : describe(sessions, page.total));
    });
}

function describe(sessions: readonly Session[], total: number): string {
  if (sessions.length === 0) return 'No session holds an account.\n';
  const rest = total > sessions.length ? `\n${sessions.length} of ${total} shown; --limit shows more.\n` : '';
  const table = formatTable(sessions, [
    ['id', ({ id }) => id],
    ['key', ({ key_id, gateway }) => (gateway && key_id !== 'gateway' ? `${key_id} (gateway)` : key_id)],
    ['exclusive', ({ exclusive }) => exclusive],
    ['created', ({ created_at }) => created_at],
    ['expires', ({ expires_at }) => expires_at],
    ['accounts', ({ accounts }) => named(accounts)],
  ]);
  return table + rest;
}

function named(accounts: Session['accounts']): string {
  const names = accounts.slice(0, mostNamed).map(({ id, email }) => email ?? id);
  const more = accounts.length - names.length;
  return names.join(', ') + (more > 0 ? ` and ${more} more` : '');
}
