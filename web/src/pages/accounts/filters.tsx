import type { Account, AccountState } from '../../../../src/pool-api/schema.ts';
import { shownNumber } from '../../format.ts';
import { setFilters } from '../../navigation.ts';
import { accountsText } from '../../texts/accounts.ts';
import { tones } from './account-state.tsx';

/** What the table is narrowed to. It stands in the address, so that a filtered table can be linked to. */
export interface AccountFilters {
  readonly state: AccountState | undefined;
  readonly provider: string | undefined;
  /** An empty text: those without one. */
  readonly label: string | undefined;
  readonly text: string;
}

const states: readonly AccountState[] = [
  'active',
  'cooldown',
  'exhausted',
  'reauth_required',
  'disabled',
  'standby',
];
/** In an address a label that is not there; labels never begin so. */
const none = '\u2013';

export function filtersFrom(query: URLSearchParams): AccountFilters {
  const label = query.get('label') ?? undefined;
  return {
    state: states.find((state) => state === query.get('state')),
    provider: query.get('provider') ?? undefined,
    label: label === none ? '' : label,
    text: query.get('q') ?? '',
  };
}

export function filtersText({
  state,
  provider,
  label,
  text,
}: AccountFilters): Record<string, string | undefined> {
  return { state, provider, label: label === '' ? none : label, q: text };
}

export function matches(account: Account, filters: AccountFilters): boolean {
  const { state, provider, label } = filters;
  if (state !== undefined && account.status !== state) return false;
  if (provider !== undefined && account.provider !== provider) return false;
  if (label !== undefined && (account.label ?? '') !== label) return false;
  const wanted = filters.text.trim().toLowerCase();
  if (wanted === '') return true;
  const { email, id, source, credential_hint: hint } = account;
  return [email, account.label, id, account.provider, source, hint].some((word) =>
    word?.toLowerCase().includes(wanted),
  );
}

export function Filters({
  accounts,
  filters,
}: {
  readonly accounts: readonly Account[];
  readonly filters: AccountFilters;
}) {
  const text = accountsText();
  const set = (change: Partial<AccountFilters>): void => setFilters(filtersText({ ...filters, ...change }));
  const providers = [...new Set(accounts.map(({ provider }) => provider))].sort();
  const labels = [...new Set(accounts.map(({ label }) => label ?? ''))].sort();
  // What the other filters leave is what a chip counts.
  const others = accounts.filter((account) => matches(account, { ...filters, state: undefined }));
  const present = states.filter((state) => accounts.some(({ status }) => status === state));
  return (
    <div class="filters">
      <fieldset class="chips">
        <legend class="read-out">{text.states}</legend>
        <Chip isOn={filters.state === undefined} onClick={() => set({ state: undefined })}>
          {text.all} <b>{shownNumber(others.length)}</b>
        </Chip>
        {present.map((state) => (
          <Chip
            key={state}
            tone={tones[state]}
            isOn={filters.state === state}
            onClick={() => set({ state: filters.state === state ? undefined : state })}
          >
            {text[state]} <b>{shownNumber(others.filter(({ status }) => status === state).length)}</b>
          </Chip>
        ))}
      </fieldset>
      <div class="filter-fields">
        {providers.length > 1 && (
          <Choice
            label={text.provider}
            value={filters.provider}
            any={text.anyProvider}
            options={providers.map((name) => [name, name])}
            onChange={(provider) => set({ provider })}
          />
        )}
        {labels.length > 1 && (
          <Choice
            label={text.label}
            value={filters.label}
            any={text.anyLabel}
            options={labels.map((name) => [name, name === '' ? text.noLabel : name])}
            onChange={(label) => set({ label })}
          />
        )}
        <input
          type="search"
          aria-label={text.search}
          placeholder={text.searchHint}
          value={filters.text}
          onInput={({ currentTarget }) => set({ text: currentTarget.value })}
        />
      </div>
    </div>
  );
}

function Chip(given: {
  readonly isOn: boolean;
  readonly tone?: string;
  readonly onClick: () => void;
  readonly children: preact.ComponentChildren;
}) {
  return (
    <button
      type="button"
      class={`chip ${given.tone ? `tone-${given.tone}` : ''}`}
      aria-pressed={given.isOn}
      onClick={given.onClick}
    >
      {given.children}
    </button>
  );
}

/** A select whose first option means no filter; the values of others begin with `=`, so that none is taken for it. */
function Choice(given: {
  readonly label: string;
  readonly value: string | undefined;
  readonly any: string;
  readonly options: readonly (readonly [value: string, label: string])[];
  readonly onChange: (value: string | undefined) => void;
}) {
  return (
    <select
      aria-label={given.label}
      value={given.value === undefined ? '' : `=${given.value}`}
      onChange={({ currentTarget: { value } }) => given.onChange(value === '' ? undefined : value.slice(1))}
    >
      <option value="">{given.any}</option>
      {given.options.map(([value, label]) => (
        <option key={value} value={`=${value}`}>
          {label}
        </option>
      ))}
    </select>
  );
}
