import { useSignal } from '@preact/signals';
import type { Account, AccountAnswer } from '../../../../src/pool-api/schema.ts';
import { type ApiError, api, asError } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { Confirm, Dialog } from '../../components/dialog.tsx';
import { TextField } from '../../components/field.tsx';
import { Fault, Notice } from '../../components/page.tsx';
import { toast } from '../../components/toast.tsx';
import { addingText } from '../../texts/account-adding.ts';
import { accountDetailsText } from '../../texts/account-details.ts';
import { accountsText } from '../../texts/accounts.ts';
import { frameText } from '../../texts/frame.ts';
import type { AccountActions } from './account-actions.tsx';
import { type AccountList, nameOf } from './account-list.ts';
import { changeOf, SettingsFields, settingsText, useSettings } from './settings-fields.tsx';

interface Given {
  readonly account: Account;
  readonly list: AccountList;
  readonly onClose: () => void;
}

/** Of two people the later one wins, field by field: only what was changed here is sent. */
export function EditDialog({ account, list, hasTeams, onClose }: Given & { readonly hasTeams: boolean }) {
  const text = addingText();
  const settings = useSettings(account);
  const email = useSignal(account.email ?? '');
  const error = useSignal<ApiError | undefined>(undefined);
  const fault = useSignal<{ readonly field: string; readonly text: string } | undefined>(undefined);
  const present = list.accounts.value.get(account.id);
  const isOther =
    present !== undefined &&
    (present.email !== account.email ||
      JSON.stringify(settingsText(present)) !== JSON.stringify(settings.before));

  async function save(): Promise<void> {
    const result = changeOf(settings);
    fault.value = 'fault' in result ? { field: result.field, text: result.fault } : undefined;
    if ('fault' in result) return;
    const mail = email.value.trim();
    const change = {
      ...result.change,
      ...(mail !== (account.email ?? '') && { email: mail === '' ? null : mail }),
    };
    if (Object.keys(change).length === 0) return onClose();
    try {
      await api.patch<AccountAnswer>(`/api/accounts/${encodeURIComponent(account.id)}`, change);
      toast(text.saved);
      onClose();
      await list.reload([account.id]);
    } catch (thrown) {
      error.value = asError(thrown);
    }
  }

  return (
    <Dialog
      title={text.editTitle(nameOf(account))}
      onClose={onClose}
      onSubmit={save}
      actions={
        <>
          <Button onClick={onClose}>{frameText().cancel}</Button>
          <Button type="submit" kind="primary">
            {text.save}
          </Button>
        </>
      }
    >
      {isOther && <Notice tone="rest">{text.changedMeanwhile}</Notice>}
      {error.value && <Fault error={error.value} />}
      <TextField label={text.email} hint={text.emailHint} value={email} type="email" />
      <SettingsFields settings={settings} hasTeams={hasTeams} fault={fault.value} />
    </Dialog>
  );
}

export function ReplaceDialog({ account, list, onClose }: Given) {
  const text = addingText();
  const isKey = account.credential === 'api_key';
  const secret = useSignal('');
  const error = useSignal<ApiError | undefined>(undefined);
  const isEmpty = useSignal(false);

  async function replace(): Promise<void> {
    isEmpty.value = secret.value.trim() === '';
    if (isEmpty.value) return;
    const credential = { [account.credential]: secret.value.trim(), on_refusal: 'reject' };
    try {
      await api.patch<AccountAnswer>(`/api/accounts/${encodeURIComponent(account.id)}`, credential);
      toast(text.replaced(nameOf(account)));
      onClose();
    } catch (thrown) {
      error.value = asError(thrown);
    }
    await list.reload([account.id]);
  }

  return (
    <Dialog
      title={text.replaceTitle(nameOf(account))}
      onClose={onClose}
      onSubmit={replace}
      actions={
        <>
          <Button onClick={onClose}>{frameText().cancel}</Button>
          <Button type="submit" kind="primary">
            {text.replace}
          </Button>
        </>
      }
    >
      <p>{isKey ? text.replaceText : text.replaceTokenText}</p>
      {error.value && <Fault error={error.value} />}
      <TextField
        label={isKey ? text.newKey : text.newToken}
        value={secret}
        type="password"
        autoComplete="new-password"
        isCode
        isRequired
        error={isEmpty.value && secret.value.trim() === '' ? text.secretEmpty : undefined}
      />
    </Dialog>
  );
}

export function RemoveDialog({
  account,
  actions,
  onClose,
}: Omit<Given, 'list'> & { readonly actions: AccountActions }) {
  const text = accountsText();
  return (
    <Confirm
      title={text.removeTitle(nameOf(account))}
      action={text.remove}
      onConfirm={() => actions.runAsked('remove', account)}
      onClose={onClose}
    >
      <p>{text.removeText}</p>
      <p>{account.credential === 'api_key' ? text.removeKeyNote : text.removeTokenNote}</p>
      <Identity account={account} />
    </Confirm>
  );
}

export function DisableDialog({
  account,
  actions,
  onClose,
}: Omit<Given, 'list'> & { readonly actions: AccountActions }) {
  const text = accountsText();
  return (
    <Confirm
      title={text.disableTitle(nameOf(account))}
      action={text.disable}
      onConfirm={() => actions.runAsked('disable', account)}
      onClose={onClose}
    >
      <p>{text.disableText}</p>
      <Identity account={account} />
    </Confirm>
  );
}

/** Which account it is, beyond a name that two may have. */
function Identity({ account }: { readonly account: Account }) {
  const text = accountDetailsText();
  return (
    <p class="note">
      {account.provider}, <code>{account.id}</code>
      {account.credential_hint !== '' && !account.credential_hint.includes('*') && (
        <>
          , {account.credential === 'api_key' ? text.apiKey : text.refreshToken}{' '}
          {text.endsWith(account.credential_hint)}
        </>
      )}
    </p>
  );
}
