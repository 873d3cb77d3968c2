import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { ShownTurn } from '../../../../src/core/shown-turn.ts';
import { Button } from '../../components/button.tsx';
import { SelectField, TextField } from '../../components/field.tsx';
import { shownNumber } from '../../format.ts';
import { place, setFilters } from '../../navigation.ts';
import { turnsText } from '../../texts/turns.ts';
import { shownOutcome } from './shown-names.ts';

const names = ['outcome', 'provider', 'model', 'account', 'client_key', 'min_duration_ms'] as const;
type FilterName = (typeof names)[number];

const waits = [2, 5, 15, 60];
const typedMs = 300;

export function hasFilters(filters: URLSearchParams): boolean {
  return names.some((name) => filters.has(name));
}

/** As `/api/turns` takes them: the beginning of an account's id needs four characters. */
export function turnQuery(filters: URLSearchParams): Partial<Record<FilterName, string>> {
  const given = names.flatMap((name) => {
    const value = filters.get(name) ?? '';
    return value === '' || (name === 'account' && value.length < 4) ? [] : [[name, value] as const];
  });
  return Object.fromEntries(given);
}

/** They stand in the address, so that a view can be sent to others. */
export function TurnFilters({ turns }: { readonly turns: readonly ShownTurn[] }) {
  const text = turnsText();
  const { filters } = place.value;
  const providers = turns.flatMap(({ candidates }) => candidates.map(({ provider }) => provider));
  const outcomes = turns
    .map(({ outcome }) => outcome)
    .filter((outcome) => !['running', 'success', 'cancelled'].includes(outcome));
  const withOwn = (found: readonly string[], name: FilterName) => {
    const own = filters.get(name);
    return [...new Set([...found, ...(own === null ? [] : [own])])].sort();
  };
  const codes = withOwn(outcomes, 'outcome').filter(
    (code) => !['running', 'success', 'error', 'cancelled'].includes(code),
  );
  return (
    <div class="turn-filters">
      <SelectFilter
        name="outcome"
        label={text.outcome}
        options={[
          { value: '', label: text.anyOutcome },
          { value: 'running', label: text.running },
          { value: 'success', label: text.success },
          { value: 'error', label: text.anyError },
          { value: 'cancelled', label: text.cancelled },
          ...codes.map((value) => ({ value, label: shownOutcome(value) })),
        ]}
      />
      <SelectFilter
        name="provider"
        label={text.provider}
        options={[
          { value: '', label: text.anyProvider },
          ...withOwn(providers, 'provider').map((value) => ({ value, label: value })),
        ]}
      />
      <TextFilter name="model" label={text.model} hint={text.modelHint} />
      <TextFilter name="account" label={text.account} hint={text.accountHint} />
      <TextFilter name="client_key" label={text.key} />
      <SelectFilter
        name="min_duration_ms"
        label={text.slow}
        options={[
          { value: '', label: text.anyDuration },
          ...waits.map((seconds) => ({
            value: String(seconds * 1_000),
            label: text.slowerThan(shownNumber(seconds)),
          })),
        ]}
      />
      {hasFilters(filters) && (
        <Button kind="quiet" icon="close" onClick={() => setFilters({})}>
          {text.clear}
        </Button>
      )}
    </div>
  );
}

function change(name: FilterName, value: string): void {
  setFilters({ ...Object.fromEntries(place.peek().filters), [name]: value });
}

function SelectFilter(given: {
  readonly name: FilterName;
  readonly label: string;
  readonly options: readonly { readonly value: string; readonly label: string }[];
}) {
  const { name, label, options } = given;
  const shown = useSignal('');
  shown.value = place.value.filters.get(name) ?? '';
  useEffect(
    () => shown.subscribe((value) => value !== (place.peek().filters.get(name) ?? '') && change(name, value)),
    [],
  );
  return <SelectField label={label} value={shown} options={options} />;
}

/** Takes effect when no key was pressed for a moment. */
function TextFilter({
  name,
  label,
  hint,
}: {
  readonly name: FilterName;
  readonly label: string;
  readonly hint?: string;
}) {
  const inAddress = place.value.filters.get(name) ?? '';
  const typed = useSignal(inAddress);
  useEffect(() => {
    typed.value = inAddress;
  }, [inAddress]);
  useEffect(() => {
    const timer = setTimeout(() => {
      if (typed.value !== (place.peek().filters.get(name) ?? '')) change(name, typed.value.trim());
    }, typedMs);
    return () => clearTimeout(timer);
  }, [typed.value]);
  return (
    <TextField
      label={label}
      value={typed}
      type="search"
      {...(hint === undefined ? {} : { placeholder: hint })}
    />
  );
}
