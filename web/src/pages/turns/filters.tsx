import type { ShownTurn } from '../../../../src/core/shown-turn.ts';
import type { ListAnswer } from '../../../../src/pool-api/account-schema.ts';
import { api } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { SelectField, TextField } from '../../components/field.tsx';
import { shownNumber } from '../../format.ts';
import { filter, place, setFilters } from '../../navigation.ts';
import { turnsText } from '../../texts/turns.ts';
import { useAccountNames } from '../accounts/account-names.ts';
import { keylessClient, keyName, shownOutcome } from './shown-names.ts';

const names = ['outcome', 'provider', 'model', 'account', 'client_key', 'min_duration_ms'] as const;
type FilterName = (typeof names)[number];

const waits = [2, 5, 15, 60];

export function hasFilters(filters: URLSearchParams): boolean {
  return names.some((name) => filters.has(name));
}

/** As `/api/turns` takes them: the beginning of an account's id needs four characters. */
export function turnQuery(filters: URLSearchParams): Partial<Record<FilterName, string>> {
  const given = names.flatMap((name) => {
    const value = (filters.get(name) ?? '').trim();
    if (value === '' || (name === 'account' && value.length < 4)) return [];
    const isKeyless = name === 'client_key' && value === turnsText().noKey;
    return [[name, isKeyless ? keylessClient : value] as const];
  });
  return Object.fromEntries(given);
}

/** With the id of the one account whose e-mail address or label is or begins as asked; an id's own beginning stays. */
export async function byAccountId<Query extends { readonly account?: string }>(
  query: Query,
  abort: AbortSignal,
): Promise<Query> {
  const { account: begins } = query;
  if (begins === undefined || begins.startsWith('acc_')) return query;
  const { accounts } = await api.get<ListAnswer>('/api/accounts', { begins, limit: 100 }, abort);
  const exact = accounts.filter(({ email, label }) =>
    [email, label].some((name) => name?.toLowerCase() === begins.toLowerCase()),
  );
  const [one, ...others] = exact.length > 0 ? exact : accounts;
  return one && others.length === 0 ? { ...query, account: one.id } : query;
}

/** They stand in the address, so that a view can be sent to others. */
export function TurnFilters({ turns }: { readonly turns: readonly ShownTurn[] }) {
  const text = turnsText();
  const { filters } = place.value;
  const providers = turns.flatMap(({ candidates }) => candidates.map(({ provider }) => provider));
  const fixed = ['running', 'success', 'error', 'cancelled'];
  const outcomes = turns.map(({ outcome }) => outcome);
  const accounts = turns.flatMap(({ attempts }) => attempts.map((attempt) => attempt.account_id));
  const nameOf = useAccountNames(accounts);
  const keys = turns.map((turn) => keyName(turn.key_name, turn.client_key));
  const withOwn = (found: readonly string[], name: FilterName) =>
    [...new Set([...found, filters.get(name) ?? ''])].filter((value) => value !== '').sort();
  return (
    <div class="turn-filters">
      <SelectField
        label={text.outcome}
        value={filter('outcome')}
        options={[
          { value: '', label: text.anyOutcome },
          { value: 'running', label: text.running },
          { value: 'success', label: text.success },
          { value: 'error', label: text.anyError },
          { value: 'cancelled', label: text.cancelled },
          ...withOwn(outcomes, 'outcome')
            .filter((code) => !fixed.includes(code))
            .map((value) => ({ value, label: shownOutcome(value) })),
        ]}
      />
      <SelectField
        label={text.provider}
        value={filter('provider')}
        options={[
          { value: '', label: text.anyOutcome },
          ...withOwn(providers, 'provider').map((value) => ({ value, label: value })),
        ]}
      />
      <TextField label={text.model} placeholder={text.modelHint} value={filter('model')} type="search" />
      <TextField
        label={text.account}
        placeholder={text.accountHint}
        value={filter('account')}
        names={withOwn(accounts, 'account').map((id) => ({ value: id, label: nameOf(id) }))}
        type="search"
      />
      <TextField
        label={text.key}
        value={filter('client_key')}
        names={withOwn(keys, 'client_key')}
        type="search"
      />
      <SelectField
        label={text.duration}
        value={filter('min_duration_ms')}
        options={[
          { value: '', label: text.anyOutcome },
          ...waits.map((seconds) => ({
            value: String(seconds * 1_000),
            label: text.slowerThan(shownNumber(seconds)),
          })),
        ]}
      />
      {hasFilters(filters) && (
        <Button kind="quiet" icon="close" onClick={() => setFilters({})}>
          {text.clearFilters}
        </Button>
      )}
    </div>
  );
}
