import { type Signal, useSignal } from '@preact/signals';
import type { Account } from '../../../../src/pool-api/account-schema.ts';
import { namesIn, SelectField, TextField } from '../../components/field.tsx';
import { addingText } from '../../texts/account-adding.ts';

/** The settings of an account as a form holds them: as text. */
export interface SettingsForm {
  readonly label: Signal<string>;
  readonly capacity: Signal<string>;
  readonly tier: Signal<string>;
  readonly lend: Signal<'' | 'any' | 'gateway'>;
  readonly free: Signal<'' | 'yes' | 'no'>;
  readonly models: Signal<string>;
  readonly team: Signal<string>;
  /** What it began with, by which a change is known. */
  readonly before: Readonly<
    Record<'label' | 'capacity' | 'tier' | 'lend' | 'free' | 'models' | 'team', string>
  >;
}

const nothing = { label: '', capacity: '', tier: '', lend: '', free: '', models: '', team: '' };

/** What is wrong with a field of it. */
export interface SettingFault {
  readonly field: string;
  readonly text: string;
}

export function settingsText(account: Account): SettingsForm['before'] {
  return {
    label: account.label ?? '',
    capacity: String(account.capacity),
    tier: String(account.tier),
    lend: account.lend,
    free: account.free ? 'yes' : 'no',
    models: account.models?.join(', ') ?? '',
    team: account.team_uid ?? '',
  };
}

export function useSettings(account?: Account): SettingsForm {
  const first = account ? settingsText(account) : nothing;
  const before = useSignal(first).value;
  return {
    before,
    label: useSignal(before.label),
    capacity: useSignal(before.capacity),
    tier: useSignal(before.tier),
    lend: useSignal(before.lend as '' | 'any' | 'gateway'),
    free: useSignal(before.free as '' | 'yes' | 'no'),
    models: useSignal(before.models),
    team: useSignal(before.team),
  };
}

const ranges = [
  ['capacity', 1, 10_000],
  ['tier', 0, 1_000],
] as const;

/** Only what was changed, so that two people who change different settings do not undo each other's work. */
export function changeOf(
  form: SettingsForm,
): { readonly change: Readonly<Record<string, unknown>> } | { readonly fault: SettingFault } {
  const text = addingText();
  const { before } = form;
  const change: Record<string, unknown> = {};
  const isOther = (name: keyof SettingsForm['before']) => form[name].value.trim() !== before[name];
  if (isOther('label')) change['label'] = form.label.value.trim() || null;
  for (const [name, least, most] of ranges) {
    if (!isOther(name)) continue;
    const value = wholeNumber(form[name].value, least, most);
    if (value === undefined)
      return { fault: { field: name, text: text.wholeNumber(String(least), String(most)) } };
    change[name] = value;
  }
  if (isOther('lend')) change['lend'] = form.lend.value;
  if (isOther('free')) change['free'] = form.free.value === 'yes';
  if (isOther('models')) {
    const models = namesIn(form.models.value);
    change['models'] = models.length === 0 ? null : models;
  }
  if (isOther('team')) change['team_uid'] = form.team.value.trim() || null;
  return { change };
}

function wholeNumber(text: string, least: number, most: number): number | undefined {
  const value = Number(text);
  return /^\d+$/.test(text.trim()) && value >= least && value <= most ? value : undefined;
}

/** With `account` absent every field begins empty, and what is left empty is not changed. */
export function SettingsFields(given: {
  readonly settings: SettingsForm;
  readonly hasTeams?: boolean;
  readonly isLabelElsewhere?: boolean;
  /** Of many accounts: what is left empty stays as it is. */
  readonly isForMany?: boolean;
  readonly fault?: SettingFault | undefined;
}) {
  const text = addingText();
  const { settings, fault } = given;
  const lend = [
    { value: 'any' as const, label: text.lendAny },
    { value: 'gateway' as const, label: text.lendGateway },
  ];
  const plans = [
    { value: 'no' as const, label: text.paidPlan },
    { value: 'yes' as const, label: text.free },
  ];
  const unset = { value: '' as const, label: '–' };
  const number = (name: 'capacity' | 'tier', hint: string) => (
    <TextField
      label={text[name]}
      hint={hint}
      value={settings[name]}
      inputMode="numeric"
      error={fault?.field === name ? fault.text : undefined}
    />
  );
  return (
    <div class="fields">
      {!given.isLabelElsewhere && (
        <TextField label={text.label} hint={text.labelHint} value={settings.label} />
      )}
      {number('capacity', text.capacityHint)}
      {number('tier', text.tierHint)}
      <SelectField
        label={text.lend}
        value={settings.lend}
        options={settings.before.lend === '' ? [unset, ...lend] : lend}
      />
      <SelectField
        label={text.plan}
        hint={text.freeHint}
        value={settings.free}
        options={settings.before.free === '' ? [unset, ...plans] : plans}
      />
      <TextField
        label={text.models}
        hint={given.isForMany ? undefined : text.modelsHint}
        value={settings.models}
        isCode
      />
      {given.hasTeams && <TextField label={text.team} hint={text.teamHint} value={settings.team} isCode />}
    </div>
  );
}
