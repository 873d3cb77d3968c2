import type { AccountActions, Provider } from './account-actions.tsx';
import type { AccountList } from './account-list.ts';
import { AddDialog } from './add-dialog.tsx';
import { EditDialog, EndDialog, ReplaceDialog } from './change-dialogs.tsx';
import { importJob } from './import-job.ts';
import { LoginDialog } from './login-dialog.tsx';
import { SourcesDialog } from './sources-dialog.tsx';

/** The dialog that an action asked for, if any. */
export function AccountDialogs({
  actions,
  list,
}: {
  readonly actions: AccountActions;
  readonly list: AccountList;
}) {
  const asked = actions.asked.value;
  // What ends late does not close a dialog that was opened since.
  const onClose = (): void => {
    if (actions.asked.peek() === asked) actions.ask(undefined);
  };
  const onChange = (): void => void list.load();
  switch (asked?.kind) {
    case 'add':
      return (
        <AddDialog
          providers={byUse(actions.providers.value, list)}
          onChange={onChange}
          onLogin={(provider, label) => actions.ask({ kind: 'login', wish: { provider, label } })}
          onClose={() => {
            if (importJob.value?.left === 0) importJob.value = undefined;
            onClose();
          }}
        />
      );
    case 'login':
      return <LoginDialog wish={asked.wish} onClose={onClose} />;
    case 'sources':
      return <SourcesDialog onChange={onChange} onClose={onClose} />;
    case 'edit': {
      const provider = actions.providers.value.find(({ name }) => name === asked.account.provider);
      const hasTeams = provider?.teams === true;
      return <EditDialog account={asked.account} list={list} hasTeams={hasTeams} onClose={onClose} />;
    }
    case 'replace':
      return <ReplaceDialog account={asked.account} list={list} onClose={onClose} />;
    case 'disable':
    case 'remove':
      return <EndDialog account={asked.account} action={asked.kind} actions={actions} onClose={onClose} />;
    default:
      return null;
  }
}

/** Those that have accounts already first. */
function byUse(providers: readonly Provider[], list: AccountList): readonly Provider[] {
  const counts = new Map<string, number>([['warp', 1]]);
  for (const { provider } of list.accounts.value.values())
    counts.set(provider, (counts.get(provider) ?? 0) + 2);
  return [...providers].sort((one, other) => (counts.get(other.name) ?? 0) - (counts.get(one.name) ?? 0));
}
