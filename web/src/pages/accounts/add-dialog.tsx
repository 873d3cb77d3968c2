import { useSignal } from '@preact/signals';
import type { Account, AccountAnswer } from '../../../../src/pool-api/account-schema.ts';
import { api } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { CheckField, Choices } from '../../components/choice.tsx';
import { Dialog } from '../../components/dialog.tsx';
import { TextField } from '../../components/field.tsx';
import { Form, FormFault } from '../../components/form.tsx';
import { Loading, Notice } from '../../components/page.tsx';
import { toast } from '../../components/toast.tsx';
import { addingText } from '../../texts/account-adding.ts';
import { reasonText } from '../../texts/account-reasons.ts';
import type { Provider } from './account-actions.tsx';
import { nameOf } from './account-list.ts';
import { ImportForm } from './import-form.tsx';
import { importJob } from './import-job.ts';
import { CredentialKind, ProviderField } from './provider-field.tsx';
import { changeOf, type SettingFault, SettingsFields, useSettings } from './settings-fields.tsx';

type Way = 'key' | 'lines' | 'login';

/** Accounts come in by one key, by many lines, or by a login, which has a dialog of its own. */
export function AddDialog(given: {
  readonly providers: readonly Provider[];
  readonly onChange: () => void;
  readonly onLogin: (provider: string, label: string) => void;
  readonly onClose: () => void;
}) {
  const text = addingText();
  const way = useSignal<Way>(importJob.peek() ? 'lines' : 'key');
  const real = given.providers.filter(({ trial }) => !trial);
  // The forms begin with the first provider.
  if (real.length === 0) {
    return (
      <Dialog title={text.addAccount} onClose={given.onClose} isWide>
        <Loading />
      </Dialog>
    );
  }
  return (
    <Dialog title={text.addAccount} onClose={given.onClose} isWide>
      <Choices
        label={text.way}
        value={way}
        options={[
          { value: 'key', label: text.byKey },
          { value: 'lines', label: text.byLines },
          { value: 'login', label: text.byLogin },
        ]}
      />
      {way.value === 'key' && <KeyForm {...given} providers={real} />}
      {way.value === 'lines' && <ImportForm providers={real} onChange={given.onChange} />}
      {way.value === 'login' && <LoginForm providers={real} onLogin={given.onLogin} />}
    </Dialog>
  );
}

function KeyForm(given: {
  readonly providers: readonly Provider[];
  readonly onChange: () => void;
  readonly onClose: () => void;
}) {
  const text = addingText();
  const provider = useSignal(given.providers[0]?.name ?? '');
  const kind = useSignal<'api_key' | 'refresh_token'>('api_key');
  const secret = useSignal('');
  const email = useSignal('');
  const settings = useSettings();
  const isStandby = useSignal(false);
  const isKept = useSignal(false);
  const fault = useSignal<SettingFault | undefined>(undefined);
  const own = given.providers.find(({ name }) => name === provider.value);
  const isOptional = own?.api_key === 'optional';

  async function add(): Promise<void> {
    const result = changeOf(settings);
    if ('fault' in result) fault.value = result.fault;
    else if (secret.value.trim() === '' && !isOptional)
      fault.value = { field: 'secret', text: text.secretEmpty };
    else {
      fault.value = undefined;
      await send(result.change);
    }
  }

  async function send(change: object): Promise<void> {
    const { account } = await api.post<AccountAnswer>('/api/accounts', {
      provider: provider.value,
      ...(secret.value.trim() !== '' && { [kind.value]: secret.value.trim() }),
      ...(email.value.trim() !== '' && { email: email.value.trim() }),
      ...change,
      ...(isStandby.value && { standby: true }),
      on_refusal: isKept.value ? 'keep' : 'reject',
    });
    sayAdded(account);
    given.onChange();
    given.onClose();
  }

  return (
    <Form class="add-form" onSubmit={add}>
      <FormFault />
      <div class="fields">
        <ProviderField providers={given.providers} value={provider} />
        <CredentialKind provider={own} value={kind} />
      </div>
      <TextField
        label={kind.value === 'api_key' ? text.apiKey : text.refreshToken}
        value={secret}
        type="password"
        autoComplete="new-password"
        isCode
        isRequired={!isOptional}
        hint={kind.value === 'refresh_token' ? text.tokenHint : isOptional ? text.noKeyNeeded : undefined}
        error={fault.value?.field === 'secret' ? fault.value.text : undefined}
      />
      <div class="fields">
        <TextField label={text.email} hint={text.emailHint} value={email} type="email" />
        <TextField label={text.label} hint={text.labelHint} value={settings.label} />
      </div>
      <details open={fault.value !== undefined && fault.value.field !== 'secret'}>
        <summary>{text.moreSettings}</summary>
        <SettingsFields
          settings={settings}
          isLabelElsewhere
          hasTeams={own?.teams === true}
          fault={fault.value}
        />
        <CheckField label={text.standby} hint={text.standbyHint} value={isStandby} />
        <CheckField label={text.keep} value={isKept} />
      </details>
      <div class="form-actions">
        <Button type="submit" kind="primary">
          {text.submit}
        </Button>
      </div>
    </Form>
  );
}

function sayAdded(account: Account): void {
  const text = addingText();
  const isFine = account.status === 'active' || account.status === 'standby';
  const reason = reasonText(account.status_reason) ?? account.status;
  toast(
    isFine ? text.added(nameOf(account)) : text.addedBut(nameOf(account), reason),
    isFine ? 'ok' : 'rest',
  );
}

function LoginForm(given: {
  readonly providers: readonly Provider[];
  readonly onLogin: (provider: string, label: string) => void;
}) {
  const text = addingText();
  const able = given.providers.filter(({ login }) => login);
  const provider = useSignal(able[0]?.name ?? '');
  const label = useSignal('');
  if (able.length === 0) {
    const hints = given.providers.flatMap(({ name, missing }) =>
      missing.login === null ? [] : [[name, missing.login]],
    );
    return (
      <Notice tone="accent">
        {text.noLogins}
        {hints.map(([name = '', hint = '']) => (
          <p key={name}>{text.loginMissing(name, hint)}</p>
        ))}
      </Notice>
    );
  }
  return (
    <div class="add-form">
      <p>{text.loginLead}</p>
      <div class="fields">
        <ProviderField providers={able} value={provider} />
        <TextField label={text.label} hint={text.labelHint} value={label} />
      </div>
      <div class="form-actions">
        <Button kind="primary" onClick={() => given.onLogin(provider.value, label.value.trim())}>
          {text.start}
        </Button>
      </div>
    </div>
  );
}
