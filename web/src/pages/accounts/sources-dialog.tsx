import { useSignal } from '@preact/signals';
import type { ReplenishAnswer, StatusAnswer } from '../../../../src/pool-api/owner-schema.ts';
import { api, useLoaded } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { Dialog } from '../../components/dialog.tsx';
import { TextField } from '../../components/field.tsx';
import { Badge, Notice, Shown } from '../../components/page.tsx';
import { Table } from '../../components/table.tsx';
import { Countdown } from '../../components/time.tsx';
import { shownNumber } from '../../format.ts';
import { addingText } from '../../texts/account-adding.ts';

type Source = StatusAnswer['sources'][number];

const mostAsked = 10_000;
const reloadMs = 5_000;

/** Where the pool gets accounts from, and a button to fetch some now. */
export function SourcesDialog({
  onChange,
  onClose,
}: {
  readonly onChange: () => void;
  readonly onClose: () => void;
}) {
  const text = addingText();
  const status = useLoaded((abort) => api.get<StatusAnswer>('/api/accounts/status', {}, abort), [], reloadMs);
  const count = useSignal('');
  const fault = useSignal<string | undefined>(undefined);
  const answer = useSignal<ReplenishAnswer | undefined>(undefined);

  async function refill(): Promise<void> {
    const asked = count.value.trim();
    const isSound = asked === '' || (/^\d+$/.test(asked) && Number(asked) >= 1 && Number(asked) <= mostAsked);
    fault.value = isSound ? undefined : text.wholeNumber('1', shownNumber(mostAsked));
    if (!isSound) return;
    try {
      const body = asked === '' ? {} : { count: Number(asked) };
      answer.value = await api.post<ReplenishAnswer>('/api/accounts/replenish', body);
      onChange();
    } finally {
      void status.reload();
    }
  }

  return (
    <Dialog
      title={text.refill}
      onClose={onClose}
      isWide
      onSubmit={refill}
      actions={
        <Button type="submit" kind="primary" isDisabled={status.value.value === undefined}>
          {text.refillNow}
        </Button>
      }
    >
      <Shown of={status}>
        {(present) => (
          <>
            <p>
              {text.poolHas(
                shownNumber(usableIn(present)),
                shownNumber(present.min_pool_size),
                shownNumber(present.max_pool_size),
              )}
            </p>
            <Sources sources={present.sources} />
            <p class="note">{text.moreSources}</p>
            <TextField
              label={text.howMany}
              hint={text.howManyHint(shownNumber(present.min_pool_size))}
              value={count}
              inputMode="numeric"
              error={fault.value}
            />
          </>
        )}
      </Shown>
      {answer.value && <Answer answer={answer.value} />}
    </Dialog>
  );
}

function usableIn({ pool_stats: stats }: StatusAnswer): number {
  return stats.total - stats.standby - stats.reauth_required - stats.disabled;
}

function Sources({ sources }: { readonly sources: readonly Source[] }) {
  const text = addingText();
  const states = {
    ok: { tone: 'ok', word: text.sourceOk },
    backing_off: { tone: 'bad', word: text.sourceBackingOff },
    empty: { tone: 'quiet', word: text.sourceEmpty },
  } as const;
  return (
    <Table
      label={text.source}
      rows={sources}
      keyOf={({ name }) => name}
      empty={null}
      columns={[
        {
          id: 'name',
          label: text.source,
          cell: ({ name, type }) => (
            <>
              <div>{type === 'standby' ? text.ownInventory : name}</div>
              {type !== 'standby' && type !== name && <div class="note">{type}</div>}
            </>
          ),
        },
        {
          id: 'state',
          label: text.state,
          cell: ({ state, last_error: lastError, retry_at: retryAt }) => (
            <>
              <Badge tone={states[state].tone}>{states[state].word}</Badge>
              {lastError !== null && (
                <div class="note">
                  <bdi>{lastError}</bdi>
                </div>
              )}
              {retryAt !== null && (
                <div class="note">
                  {text.retryIn} <Countdown to={retryAt} />
                </div>
              )}
            </>
          ),
        },
        { id: 'added', label: text.brought, cell: ({ added }) => shownNumber(added), align: 'end' },
      ]}
    />
  );
}

function Answer({ answer: { requested, added, reasons } }: { readonly answer: ReplenishAnswer }) {
  const text = addingText();
  if (requested === 0) return <Notice tone="ok">{text.nothingRequested}</Notice>;
  return (
    <Notice tone={added >= requested ? 'ok' : 'rest'}>
      {text.requested(shownNumber(added), shownNumber(requested))}
      {reasons.length > 0 && (
        <ul>
          {reasons.map((reason) => (
            <li key={reason}>
              <bdi>{reason}</bdi>
            </li>
          ))}
        </ul>
      )}
    </Notice>
  );
}
