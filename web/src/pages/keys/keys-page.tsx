import './keys.css';
import { useSignal } from '@preact/signals';
import type { ShownKey, ShownKeys } from '../../../../src/core/shown-key.ts';
import { api, useLoaded } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { CheckField } from '../../components/choice.tsx';
import { SearchField } from '../../components/field.tsx';
import { Menu } from '../../components/menu.tsx';
import { Badge, Empty, Notice, PageHead, Shown, type Tone } from '../../components/page.tsx';
import { type Column, Table } from '../../components/table.tsx';
import { Time } from '../../components/time.tsx';
import { toast, toastFault } from '../../components/toast.tsx';
import { shortTime, shownNumber } from '../../format.ts';
import { plainName } from '../../plain-name.ts';
import { keysText } from '../../texts/keys.ts';
import { type Asked, KeyDialogs, pathOf } from './key-dialogs.tsx';
import { fullest, isNear, KeyUses } from './key-uses.tsx';

const loadEveryMs = 10_000;
const pageSize = 1_000;
const tones: Readonly<Record<ShownKey['state'], Tone>> = {
  active: 'ok',
  disabled: 'quiet',
  expired: 'rest',
  revoked: 'bad',
};

export function KeysPage() {
  const text = keysText();
  const asked = useSignal<Asked | undefined>(undefined);
  const search = useSignal('');
  const withRevoked = useSignal(false);
  const loaded = useLoaded(loadAll, [], loadEveryMs);
  const all = loaded.value.value ?? [];
  const keys = all.filter(({ state }) => withRevoked.value || state !== 'revoked');
  const active = keys.filter(({ state }) => state === 'active').length;
  const near = keys.filter(isNear);
  const sought = search.value.trim().toLowerCase();
  const rows = keys.filter(({ name, owner }) => `${name} ${owner ?? ''}`.toLowerCase().includes(sought));
  const make = (
    <Button kind="primary" icon="add" onClick={() => ask({ kind: 'make' })}>
      {text.make}
    </Button>
  );
  const open = asked.value;
  function ask(what: Asked | undefined): void {
    asked.value = what;
  }

  return (
    <div class="keys stack">
      <PageHead
        title={text.keys}
        lead={keys.length > 0 && text.lead(shownNumber(active), shownNumber(keys.length))}
      >
        {make}
      </PageHead>
      {near.length > 0 && <Notice tone="rest">{text.near(near.map(({ name }) => name).join(', '))}</Notice>}
      <Shown of={loaded}>
        {({ length }) =>
          length === 0 ? (
            <Empty title={text.emptyTitle} action={make}>
              {text.empty} {text.emptyOpen}
            </Empty>
          ) : (
            <>
              <div class="filters">
                <SearchField label={text.search} value={search} />
                <CheckField label={text.showRevoked} value={withRevoked} />
              </div>
              <Table<ShownKey>
                label={text.keys}
                columns={columns(ask, () => void loaded.reload())}
                rows={rows}
                keyOf={({ id }) => id}
                empty={<Empty title={text.noneMatch} />}
              />
            </>
          )
        }
      </Shown>
      <KeyDialogs
        asked={open}
        // What ends late does not close a dialog that was opened since.
        onClose={() => asked.peek() === open && ask(undefined)}
        onDone={() => void loaded.reload()}
        onSecret={({ key, secret }) => ask({ kind: 'secret', key, secret })}
      />
    </div>
  );
}

async function loadAll(abort: AbortSignal): Promise<readonly ShownKey[]> {
  const keys: ShownKey[] = [];
  for (let before: number | undefined; ; ) {
    const query = { limit: pageSize, revoked: true, before };
    const page = await api.get<ShownKeys>('/api/keys', query, abort);
    keys.push(...page.keys);
    if (page.next_before === null) return keys;
    before = page.next_before;
  }
}

function columns(ask: (what: Asked) => void, reload: () => void): readonly Column<ShownKey>[] {
  const text = keysText();
  return [
    { id: 'key', label: text.key, cell: (key) => <KeyCell shown={key} />, sort: ({ name }) => name },
    { id: 'state', label: text.state, cell: (key) => <StateCell shown={key} />, sort: ({ state }) => state },
    { id: 'allowed', label: text.allowed, cell: (key) => <AllowedCell shown={key} /> },
    {
      id: 'limits',
      label: text.limits,
      cell: (key) => <KeyUses uses={key.uses} />,
      sort: fullest,
      isDescendingFirst: true,
    },
    {
      id: 'last-used',
      label: text.lastUsed,
      cell: ({ last_used_at: at }) =>
        at === null ? <span class="quiet">{text.never}</span> : <Time at={at} relative />,
      sort: ({ last_used_at: at }) => (at === null ? undefined : Date.parse(at)),
      isDescendingFirst: true,
    },
    {
      id: 'actions',
      label: text.actions,
      cell: (key) => key.state !== 'revoked' && <Actions shown={key} ask={ask} reload={reload} />,
      isHeadHidden: true,
      align: 'end',
    },
  ];
}

/** Names come from outside: `bdi` keeps one that is written from right to left from turning what stands beside it. */
function KeyCell({ shown }: { readonly shown: ShownKey }) {
  return (
    <div class="name-cell">
      <strong>
        <bdi>{shown.name}</bdi>
      </strong>
      {shown.owner && (
        <span class="note">
          <bdi>{plainName(shown.owner)}</bdi>
        </span>
      )}
      <code class="note">{shown.prefix}…</code>
    </div>
  );
}

function StateCell({ shown }: { readonly shown: ShownKey }) {
  const text = keysText();
  const { state, expires_at, former_secret_until, revoked_at } = shown;
  return (
    <div class="state-cell">
      <Badge tone={tones[state]}>{text[state]}</Badge>
      {state !== 'revoked' && expires_at !== null && (
        <span class="note">{text.expires(shortTime(Date.parse(expires_at)))}</span>
      )}
      {state !== 'revoked' && former_secret_until !== null && (
        <span class="note">{text.formerUntil(shortTime(Date.parse(former_secret_until)))}</span>
      )}
      {revoked_at !== null && (
        <span class="note">
          <Time at={revoked_at} />
        </span>
      )}
    </div>
  );
}

function AllowedCell({ shown }: { readonly shown: ShownKey }) {
  const text = keysText();
  const { models, providers, labels } = shown;
  const parts = [
    models?.join(', '),
    providers?.join(', '),
    labels && text.accountsLabelled(labels.join(', ')),
  ].filter((part) => part);
  if (parts.length === 0) return <span class="quiet">{text.everything}</span>;
  return (
    <div class="key-allowed">
      {parts.map((part) => (
        <div key={part}>{plainName(part ?? '')}</div>
      ))}
    </div>
  );
}

function Actions({
  shown,
  ask,
  reload,
}: {
  readonly shown: ShownKey;
  readonly ask: (what: Asked) => void;
  readonly reload: () => void;
}) {
  const text = keysText();
  const isDisabled = shown.state === 'disabled';
  return (
    <div class="row-actions">
      <Button onClick={() => ask({ kind: 'edit', key: shown })}>{text.edit}</Button>
      <Menu
        label={`${text.actions}: ${shown.name}`}
        items={[
          { label: text.rotate, icon: 'refresh', onSelect: () => ask({ kind: 'rotate', key: shown }) },
          isDisabled
            ? {
                label: text.enable,
                icon: 'check',
                onSelect: async () => {
                  try {
                    await api.patch<ShownKey>(pathOf(shown), { enabled: true });
                    toast(text.enabledNow(shown.name));
                  } catch (error) {
                    toastFault(error);
                  }
                  reload();
                },
              }
            : { label: text.disable, icon: 'close', onSelect: () => ask({ kind: 'disable', key: shown }) },
          {
            label: text.revoke,
            icon: 'alert',
            isDanger: true,
            onSelect: () => ask({ kind: 'revoke', key: shown }),
          },
        ]}
      />
    </div>
  );
}
