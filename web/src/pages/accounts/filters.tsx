import type { ComponentChildren } from 'preact';
import type { Account } from '../../../../src/pool-api/account-schema.ts';
import type { AccountState } from '../../../../src/pool-api/schema.ts';
import { SearchField, SelectField } from '../../components/field.tsx';
import { shownNumber } from '../../format.ts';
import { filter, place } from '../../navigation.ts';
import { accountsText } from '../../texts/accounts.ts';
import { shownSource, tones } from './account-state.tsx';

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
const state = filter('state');
const provider = filter('provider');
const label = filter('label');
const search = filter('q');

/** Whether the table shows an account. What it is narrowed to stands in the address, so that it can be linked to. */
export function matches(account: Account, isOfAnyState = false): boolean {
  const query = place.value.filters;
  const [wantedState, wantedProvider, wantedLabel] = [
    query.get('state'),
    query.get('provider'),
    query.get('label'),
  ];
  if (wantedState && !isOfAnyState && account.status !== wantedState) return false;
  if (wantedProvider && account.provider !== wantedProvider) return false;
  if (wantedLabel && (account.label ?? none) !== wantedLabel) return false;
  const wanted = search.value.trim().toLowerCase();
  if (wanted === '') return true;
  const { email, id, source, credential_hint: hint } = account;
  return [email, account.label, id, account.provider, shownSource(source), hint].some((word) =>
    word?.toLowerCase().includes(wanted),
  );
}

export function Filters({ accounts }: { readonly accounts: readonly Account[] }) {
  const text = accountsText();
  const providers = [...new Set(accounts.map((account) => account.provider))].sort();
  const labels = [...new Set(accounts.map((account) => account.label ?? none))].sort();
  // What the other filters leave is what a chip counts.
  const others = accounts.filter((account) => matches(account, true));
  const present = states.filter((one) => accounts.some(({ status }) => status === one));
  return (
    <div class="filters">
      <fieldset class="chips">
        <legend class="read-out">{text.states}</legend>
        <Chip value="">
          {text.all} <b>{shownNumber(others.length)}</b>
        </Chip>
        {present.map((one) => (
          <Chip key={one} value={one} tone={tones[one]}>
            {text[one]} <b>{shownNumber(others.filter(({ status }) => status === one).length)}</b>
          </Chip>
        ))}
      </fieldset>
      <div class="filter-fields">
        {providers.length > 1 && (
          <SelectField
            label={text.provider}
            look="bare"
            value={provider}
            options={[
              { value: '', label: text.anyProvider },
              ...providers.map((name) => ({ value: name, label: name })),
            ]}
          />
        )}
        {labels.length > 1 && (
          <SelectField
            label={text.label}
            look="bare"
            value={label}
            options={[
              { value: '', label: text.anyLabel },
              ...labels.map((name) => ({ value: name, label: name === none ? text.noLabel : name })),
            ]}
          />
        )}
        <SearchField label={text.search} hint={text.searchHint} value={search} />
      </div>
    </div>
  );
}

/** A press on the one that is on takes it off. */
function Chip(given: {
  readonly value: string;
  readonly tone?: string;
  readonly children: ComponentChildren;
}) {
  const isOn = state.value === given.value;
  return (
    <button
      type="button"
      class={`chip ${given.tone ? `tone-${given.tone}` : ''}`}
      aria-pressed={isOn}
      onClick={() => {
        state.value = isOn ? '' : given.value;
      }}
    >
      {given.children}
    </button>
  );
}
