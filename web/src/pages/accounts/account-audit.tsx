import type { AuditAnswer } from '../../../../src/pool-api/owner-schema.ts';
import { api, useLoaded } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { Fault, Shown } from '../../components/page.tsx';
import { Time } from '../../components/time.tsx';
import { useOlder } from '../../older.ts';
import { accountDetailsText } from '../../texts/account-details.ts';
import { actionText } from '../../texts/audit-actions.ts';

type Entry = AuditAnswer['entries'][number];

const atOnce = 20;

/** Who did what with the account, the newest first; loaded again when it changed. */
export function AccountAudit({ id, changedAt }: { readonly id: string; readonly changedAt: string }) {
  const text = accountDetailsText();
  const on = [id, changedAt];
  const load = (abort: AbortSignal, before?: number) =>
    api.get<AuditAnswer>('/api/audit', { account_id: id, limit: atOnce, before }, abort);
  const loaded = useLoaded(load, on);
  const older = useOlder(async (before: number, abort) => {
    const { entries, next_before: next } = await load(abort, before);
    return { items: entries, next };
  }, on);
  return (
    <Shown of={loaded}>
      {({ entries, next_before }) => {
        const { items, next } = older.pages.value ?? { items: [], next: next_before };
        return (
          <>
            {entries.length === 0 && <p class="note">{text.noAudit}</p>}
            <ul class="plain audit">
              {[...entries, ...items].map((entry) => (
                <AuditLine key={entry.seq} entry={entry} />
              ))}
            </ul>
            {older.error.value && <Fault error={older.error.value} />}
            {next !== null && <Button onClick={() => older.more(next)}>{text.older}</Button>}
          </>
        );
      }}
    </Shown>
  );
}

function AuditLine({ entry: { at, action, actor, detail } }: { readonly entry: Entry }) {
  const text = accountDetailsText();
  const shown = Object.entries(detail)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');
  return (
    <li>
      <div>
        <strong title={action}>{actionText(action)}</strong> <Time at={at} />
      </div>
      <div class="note">
        {text.by(actor)}
        {shown !== '' && (
          <>
            {' · '}
            <bdi>{shown}</bdi>
          </>
        )}
      </div>
    </li>
  );
}
