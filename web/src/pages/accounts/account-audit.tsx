import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { AuditAnswer } from '../../../../src/pool-api/schema.ts';
import { type ApiError, api, asError } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { Fault, Loading } from '../../components/page.tsx';
import { Time } from '../../components/time.tsx';
import { accountDetailsText } from '../../texts/account-details.ts';

type Entry = AuditAnswer['entries'][number];

const atOnce = 20;

/** Who did what with the account, the newest first; loaded again when it changed. */
export function AccountAudit({ id, changedAt }: { readonly id: string; readonly changedAt: string }) {
  const text = accountDetailsText();
  const entries = useSignal<readonly Entry[] | undefined>(undefined);
  const next = useSignal<number | null>(null);
  const error = useSignal<ApiError | undefined>(undefined);

  async function load(before?: number): Promise<void> {
    try {
      const query = { account_id: id, limit: atOnce, before };
      const page = await api.get<AuditAnswer>('/api/audit', query);
      entries.value = [...(before === undefined ? [] : (entries.value ?? [])), ...page.entries];
      next.value = page.next_before;
      error.value = undefined;
    } catch (thrown) {
      error.value = asError(thrown);
    }
  }
  useEffect(() => {
    void load();
  }, [id, changedAt]);

  if (error.value) return <Fault error={error.value} retry={() => void load()} />;
  if (!entries.value) return <Loading />;
  if (entries.value.length === 0) return <p class="note">{text.noAudit}</p>;
  return (
    <>
      <ul class="plain audit">
        {entries.value.map((entry) => (
          <li key={entry.seq}>
            <AuditLine entry={entry} />
          </li>
        ))}
      </ul>
      {next.value !== null && <Button onClick={() => load(next.value ?? undefined)}>{text.older}</Button>}
    </>
  );
}

function AuditLine({ entry: { at, action, actor, detail } }: { readonly entry: Entry }) {
  const text = accountDetailsText();
  const shown = Object.entries(detail)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');
  return (
    <>
      <div>
        <strong>{action}</strong> <Time at={at} />
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
    </>
  );
}
