import { useSignal } from '@preact/signals';
import type { Account, AccountAnswer } from '../../../../src/pool-api/account-schema.ts';
import { api } from '../../api.ts';
import { FormDialog } from '../../components/dialog.tsx';
import { TextField } from '../../components/field.tsx';
import { Notice } from '../../components/page.tsx';
import { toast } from '../../components/toast.tsx';
import { addingText } from '../../texts/account-adding.ts';
import { accountDetailsText } from '../../texts/account-details.ts';
import { accountsText } from '../../texts/accounts.ts';
import type { AccountActions } from './account-actions.tsx';
import { type AccountList, nameOf } from './account-list.ts';
import {
  changeOf,
  type SettingFault,
  SettingsFields,
  settingsText,
  useSettings,
} from './settings-fields.tsx';

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
  const fault = useSignal<SettingFault | undefined>(undefined);
  const present = list.accounts.value.get(account.id);
  const isOther =
    present !== undefined &&
    (present.email !== account.email ||
      JSON.stringify(settingsText(present)) !== JSON.stringify(settings.before));

  async function save(): Promise<void> {
    const result = changeOf(settings);
    fault.value = 'fault' in result ? result.fault : undefined;
    if ('fault' in result) return;
    const mail = email.value.trim();
    const change = {
      ...result.change,
      ...(mail !== (account.email ?? '') && { email: mail === '' ? null : mail }),
    };
    if (Object.keys(change).length > 0) {
      await api.patch<AccountAnswer>(`/api/accounts/${encodeURIComponent(account.id)}`, change);
      toast(text.saved);
      void list.reload([account.id]);
    }
    onClose();
  }

  return (
    <FormDialog title={text.editTitle(nameOf(account))} action={text.save} onSubmit={save} onClose={onClose}>
      {isOther && <Notice tone="rest">{text.changedMeanwhile}</Notice>}
      <TextField label={text.email} hint={text.emailHint} value={email} type="email" />
      <SettingsFields settings={settings} hasTeams={hasTeams} fault={fault.value} />
    </FormDialog>
  );
}

export function ReplaceDialog({ account, list, onClose }: Given) {
  const text = addingText();
  const isKey = account.credential === 'api_key';
  const secret = useSignal('');
  const isEmpty = useSignal(false);

  async function replace(): Promise<void> {
    isEmpty.value = secret.value.trim() === '';
    if (isEmpty.value) return;
    const credential = { [account.credential]: secret.value.trim(), on_refusal: 'reject' };
    try {
      await api.patch<AccountAnswer>(`/api/accounts/${encodeURIComponent(account.id)}`, credential);
    } finally {
      // A refusal may have changed how it stands.
      void list.reload([account.id]);
    }
    toast(text.replaced(nameOf(account)));
    onClose();
  }

  return (
    <FormDialog
      title={text.replaceTitle(nameOf(account))}
      action={text.replace}
      onSubmit={replace}
      onClose={onClose}
    >
      <p>{isKey ? text.replaceText : text.replaceTokenText}</p>
      <TextField
        label={isKey ? text.newKey : text.newToken}
        value={secret}
        type="password"
        autoComplete="new-password"
        isCode
        isRequired
        error={isEmpty.value && secret.value.trim() === '' ? text.secretEmpty : undefined}
      />
    </FormDialog>
  );
}

/** Before an account is disabled or removed. */
export function EndDialog({
  account,
  action,
  actions,
  onClose,
}: Omit<Given, 'list'> & { readonly action: 'disable' | 'remove'; readonly actions: AccountActions }) {
  const text = accountsText();
  const details = accountDetailsText();
  const isKey = account.credential === 'api_key';
  return (
    <FormDialog
      title={(action === 'remove' ? text.removeTitle : text.disableTitle)(nameOf(account))}
      action={text[action]}
      kind="danger"
      onSubmit={async () => {
        await actions.runNow(action, account);
        onClose();
      }}
      onClose={onClose}
    >
      <p>{action === 'remove' ? text.removeText : text.disableText}</p>
      {action === 'remove' && <p>{isKey ? text.removeKeyNote : text.removeTokenNote}</p>}
      {/* Which account it is, beyond a name that two may have. */}
      <p class="note">
        {account.provider}, <code>{account.id}</code>
        {account.credential_hint !== '' && !account.credential_hint.includes('*') && (
          <>
            , {isKey ? details.apiKey : details.refreshToken} {details.endsWith(account.credential_hint)}
          </>
        )}
      </p>
    </FormDialog>
  );
}
