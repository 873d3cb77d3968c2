import { type Signal, signal } from '@preact/signals';
import { useState } from 'preact/hooks';
import type { ShownKey } from '../../../../src/core/shown-key.ts';
import { Button } from '../../components/button.tsx';
import { namesIn, SelectField, TextField, type TextFieldProps } from '../../components/field.tsx';
import { shownCents } from '../../format.ts';
import { keysText } from '../../texts/keys.ts';

type Budget = ShownKey['limits']['budgets'][number];

interface BudgetRow {
  readonly id: number;
  readonly meter: Signal<Budget['meter']>;
  readonly window: Signal<Budget['window']>;
  readonly limit: Signal<string>;
}

const names = [
  'name',
  'owner',
  'models',
  'providers',
  'labels',
  'expires',
  'requests',
  'tokens',
  'parallel',
  'zone',
] as const;
type FieldName = (typeof names)[number];

/** A key as a form holds it: as text. */
export interface KeyForm {
  readonly fields: Readonly<Record<FieldName, Signal<string>>>;
  readonly budgets: Signal<readonly BudgetRow[]>;
  /** What it began with, by which a change is known. */
  readonly before: Readonly<Record<string, unknown>>;
}

interface FormFault {
  readonly field: FieldName | number;
  readonly text: string;
}

let rows = 0;

function budgetRow({
  meter,
  window,
  limit,
}: Budget | { meter: Budget['meter']; window: Budget['window']; limit: '' }) {
  return { id: ++rows, meter: signal(meter), window: signal(window), limit: signal(String(limit)) };
}

export function useKeyForm(key?: ShownKey): KeyForm {
  const [form] = useState((): KeyForm => {
    const text: Record<FieldName, string> = {
      name: key?.name ?? '',
      owner: key?.owner ?? '',
      models: key?.models?.join(', ') ?? '',
      providers: key?.providers?.join(', ') ?? '',
      labels: key?.labels?.join(', ') ?? '',
      expires: key?.expires_at ? localTime(key.expires_at) : '',
      requests: String(key?.limits.requests_per_minute ?? ''),
      tokens: String(key?.limits.tokens_per_minute ?? ''),
      parallel: String(key?.limits.parallel_turns ?? ''),
      zone: key?.limits.time_zone ?? '',
    };
    const fields = Object.fromEntries(names.map((name) => [name, signal(text[name])]));
    const made = {
      fields: fields as KeyForm['fields'],
      budgets: signal<readonly BudgetRow[]>((key?.limits.budgets ?? []).map(budgetRow)),
    };
    const read = valuesOf({ ...made, before: {} });
    return { ...made, before: 'values' in read ? read.values : {} };
  });
  return form;
}

/** What the fields say, by the names of a request; null: nothing. */
function valuesOf({ fields, budgets }: KeyForm): { readonly values: Record<string, unknown> } | FormFault {
  const text = keysText();
  const given = (name: FieldName) => fields[name].value.trim() || null;
  const list = (name: FieldName) => {
    const items = namesIn(fields[name].value);
    return items.length === 0 ? null : items;
  };
  for (const field of ['requests', 'tokens', 'parallel'] as const) {
    const value = given(field);
    if (value !== null && !/^[1-9]\d{0,11}$/.test(value)) return { field, text: text.wholeNumber };
  }
  const faulty = budgets.value.find(({ limit }) => !(Number(limit.value) > 0));
  if (faulty) return { field: faulty.id, text: text.budgetLimit };
  const number = (name: FieldName) => (given(name) === null ? null : Number(given(name)));
  const expires = given('expires');
  return {
    values: {
      name: given('name'),
      owner: given('owner'),
      models: list('models'),
      providers: list('providers'),
      labels: list('labels'),
      expires_at: expires === null ? null : new Date(expires).toISOString(),
      limits: {
        requests_per_minute: number('requests'),
        tokens_per_minute: number('tokens'),
        parallel_turns: number('parallel'),
        time_zone: given('zone'),
        budgets: budgets.value.map(({ meter, window, limit }) => ({
          meter: meter.value,
          window: window.value,
          limit: Number(limit.value),
        })),
      },
    },
  };
}

/** Only what differs from what the form began with, so that two people who change different things do not undo each other's work. */
export function changeOf(form: KeyForm): { readonly change: Record<string, unknown> } | FormFault {
  const read = valuesOf(form);
  if ('field' in read) return read;
  if (read.values['name'] === null) return { field: 'name', text: keysText().nameEmpty };
  const limits = difference(
    (form.before['limits'] ?? {}) as Record<string, unknown>,
    read.values['limits'] as Record<string, unknown>,
  );
  const { limits: _limits, ...plain } = difference(form.before, read.values);
  return { change: { ...plain, ...(Object.keys(limits).length > 0 && { limits }) } };
}

function difference(before: Readonly<Record<string, unknown>>, after: Readonly<Record<string, unknown>>) {
  const changed = Object.entries(after).filter(
    ([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name]),
  );
  return Object.fromEntries(changed);
}

/** As an input for date and time takes it, in the viewer's zone. */
function localTime(iso: string): string {
  const at = new Date(iso);
  const shifted = new Date(at.getTime() - at.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 16);
}

export function KeyFields({
  form,
  fault,
}: {
  readonly form: KeyForm;
  readonly fault: FormFault | undefined;
}) {
  const text = keysText();
  const { fields } = form;
  const field = (name: FieldName, label: string, hint: string, more: Partial<TextFieldProps> = {}) => (
    <TextField
      label={label}
      hint={hint}
      value={fields[name]}
      error={fault?.field === name ? fault.text : undefined}
      {...more}
    />
  );
  return (
    <>
      <div class="fields">
        {field('name', text.name, text.nameHint, { isRequired: true })}
        {field('owner', text.owner, text.ownerHint)}
        {field('models', text.models, text.modelsHint, { isCode: true })}
        {field('providers', text.providers, text.providersHint, { isCode: true })}
        {field('labels', text.labels, text.labelsHint)}
        {field('expires', text.expiresAt, text.expiresHint, { type: 'datetime-local' })}
        {field('requests', text.requestsPerMinute, text.unlimited, { inputMode: 'numeric' })}
        {field('tokens', text.tokensPerMinute, text.unlimited, { inputMode: 'numeric' })}
        {field('parallel', text.parallelTurns, text.unlimited, { inputMode: 'numeric' })}
      </div>
      <Budgets form={form} fault={fault} />
    </>
  );
}

/** A price is seldom thought of in cents. */
function costHint({ meter, limit }: BudgetRow): string | undefined {
  const cents = Number(limit.value);
  return meter.value === 'cost_cents' && cents > 0 ? `= ${shownCents(cents)}` : undefined;
}

const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);

function Budgets({ form, fault }: { readonly form: KeyForm; readonly fault: FormFault | undefined }) {
  const text = keysText();
  const { budgets, fields } = form;
  const meters = [
    { value: 'cost_cents' as const, label: capital(text.meterCost) },
    { value: 'tokens' as const, label: capital(text.meterTokens) },
    { value: 'requests' as const, label: capital(text.meterRequests) },
    { value: 'credits' as const, label: capital(text.meterCredits) },
  ];
  const windows = [
    { value: 'day' as const, label: text.day },
    { value: 'week' as const, label: text.week },
    { value: 'month' as const, label: text.month },
    { value: 'total' as const, label: text.total },
  ];
  return (
    <fieldset class="budgets">
      <legend>{text.budgets}</legend>
      <p class="note">{text.budgetsHint}</p>
      {budgets.value.map((row) => (
        <div key={row.id} class="budget-row">
          <SelectField label={text.meter} value={row.meter} options={meters} />
          <SelectField label={text.window} value={row.window} options={windows} />
          <TextField
            label={row.meter.value === 'cost_cents' ? text.limitCost : text.limit}
            value={row.limit}
            inputMode="decimal"
            hint={costHint(row)}
            error={fault?.field === row.id ? fault.text : undefined}
          />
          <Button
            kind="quiet"
            icon="close"
            label={text.removeBudget}
            onClick={() => {
              budgets.value = budgets.value.filter(({ id }) => id !== row.id);
            }}
          />
        </div>
      ))}
      <div>
        <Button
          icon="add"
          onClick={() => {
            const row = budgetRow({ meter: 'cost_cents', window: 'month', limit: '' });
            budgets.value = [...budgets.value, row];
          }}
        >
          {text.addBudget}
        </Button>
      </div>
      {budgets.value.length > 0 && (
        <TextField
          label={text.timeZone}
          hint={text.timeZoneHint}
          value={fields.zone}
          placeholder="UTC"
          names={Intl.supportedValuesOf('timeZone')}
        />
      )}
    </fieldset>
  );
}
