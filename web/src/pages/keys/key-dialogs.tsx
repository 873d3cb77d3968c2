import { useSignal } from '@preact/signals';
import type { ShownKey } from '../../../../src/core/shown-key.ts';
import { type ApiError, api, asError } from '../../api.ts';
import { Button, Snippet } from '../../components/button.tsx';
import { Confirm, Dialog } from '../../components/dialog.tsx';
import { SelectField } from '../../components/field.tsx';
import { Fault, Notice } from '../../components/page.tsx';
import { toast, toastFault } from '../../components/toast.tsx';
import { frameText } from '../../texts/frame.ts';
import { keysText } from '../../texts/keys.ts';
import { changeOf, KeyFields, useKeyForm } from './key-form.tsx';

/** What is asked for on the page of keys. */
export type Asked =
  | { readonly kind: 'make' }
  | { readonly kind: 'secret'; readonly key: ShownKey; readonly secret: string }
  | { readonly kind: 'edit' | 'rotate' | 'disable' | 'revoke'; readonly key: ShownKey };

interface WithSecret {
  readonly key: ShownKey;
  readonly secret: string;
}

interface Given {
  readonly onClose: () => void;
  /** Something has changed at the gateway. */
  readonly onDone: () => void;
}

export const pathOf = ({ id }: ShownKey): string => `/api/keys/${encodeURIComponent(id)}`;

export function KeyDialogs({
  asked,
  onSecret,
  ...given
}: Given & { readonly asked: Asked | undefined; readonly onSecret: (made: WithSecret) => void }) {
  switch (asked?.kind) {
    case 'make':
      return <FormDialog {...given} onSecret={onSecret} />;
    case 'edit':
      return <FormDialog {...given} key={asked.key.id} shown={asked.key} onSecret={onSecret} />;
    case 'secret':
      return <SecretDialog made={asked} onClose={given.onClose} />;
    case 'rotate':
      return <RotateDialog {...given} shown={asked.key} onSecret={onSecret} />;
    case 'disable':
      return <DisableDialog {...given} shown={asked.key} />;
    case 'revoke':
      return <RevokeDialog {...given} shown={asked.key} />;
    default:
      return null;
  }
}

function FormDialog({
  shown,
  onClose,
  onDone,
  onSecret,
}: Given & { readonly shown?: ShownKey; readonly onSecret: (made: WithSecret) => void }) {
  const text = keysText();
  const form = useKeyForm(shown);
  const error = useSignal<ApiError | undefined>(undefined);
  const isTried = useSignal(false);
  const read = changeOf(form);

  async function save(): Promise<void> {
    const result = changeOf(form);
    isTried.value = true;
    error.value = undefined;
    if ('field' in result) return;
    try {
      if (!shown) onSecret(await api.post<WithSecret>('/api/keys', result.change));
      else {
        if (Object.keys(result.change).length > 0) {
          await api.patch<ShownKey>(pathOf(shown), result.change);
          toast(text.saved);
        }
        onClose();
      }
      onDone();
    } catch (thrown) {
      error.value = asError(thrown);
    }
  }

  return (
    <Dialog
      title={shown ? text.editTitle(shown.name) : text.makeTitle}
      isWide
      onClose={onClose}
      onSubmit={save}
      actions={
        <>
          <Button onClick={onClose}>{frameText().cancel}</Button>
          <Button type="submit" kind="primary">
            {shown ? text.save : text.makeIt}
          </Button>
        </>
      }
    >
      {error.value && <Fault error={error.value} />}
      <KeyFields form={form} fault={isTried.value && 'field' in read ? read : undefined} />
    </Dialog>
  );
}

/** The secret, which no other answer has, and how clients take it. */
function SecretDialog({ made, onClose }: { readonly made: WithSecret; readonly onClose: () => void }) {
  const text = keysText();
  const { origin } = location;
  const { secret } = made;
  return (
    <Dialog
      title={text.madeTitle(made.key.name)}
      isWide
      onClose={onClose}
      actions={
        <Button kind="primary" onClick={onClose}>
          {text.done}
        </Button>
      }
    >
      <div class="secret-shown">
        <Notice tone="rest">{text.madeText}</Notice>
        <Snippet text={secret} label={text.copySecret} />
        <h3>{text.forOpenai}</h3>
        <Snippet text={`export OPENAI_BASE_URL=${origin}/v1\nexport OPENAI_API_KEY=${secret}`} />
        <h3>{text.forClaude}</h3>
        <Snippet text={`export ANTHROPIC_BASE_URL=${origin}\nexport ANTHROPIC_AUTH_TOKEN=${secret}`} />
        <h3>{text.forGemini}</h3>
        <Snippet text={`export GOOGLE_GEMINI_BASE_URL=${origin}\nexport GEMINI_API_KEY=${secret}`} />
      </div>
    </Dialog>
  );
}

function RotateDialog({
  shown,
  onClose,
  onDone,
  onSecret,
}: Given & { readonly shown: ShownKey; readonly onSecret: (made: WithSecret) => void }) {
  const text = keysText();
  const grace = useSignal<'0' | '3600' | '86400' | '604800'>('86400');

  async function rotate(): Promise<void> {
    try {
      const body = { grace_seconds: Number(grace.value) };
      onSecret(await api.post<WithSecret>(`${pathOf(shown)}/rotate`, body));
      onDone();
    } catch (error) {
      toastFault(error);
    }
  }

  return (
    <Dialog
      title={text.rotateTitle(shown.name)}
      onClose={onClose}
      onSubmit={rotate}
      actions={
        <>
          <Button onClick={onClose}>{frameText().cancel}</Button>
          <Button type="submit" kind="primary">
            {text.rotate}
          </Button>
        </>
      }
    >
      <p>{text.rotateText}</p>
      <SelectField
        label={text.grace}
        value={grace}
        options={[
          { value: '0', label: text.graceNone },
          { value: '3600', label: text.graceHour },
          { value: '86400', label: text.graceDay },
          { value: '604800', label: text.graceWeek },
        ]}
      />
    </Dialog>
  );
}

function DisableDialog({ shown, onClose, onDone }: Given & { readonly shown: ShownKey }) {
  const text = keysText();
  return (
    <Confirm
      title={text.disableTitle(shown.name)}
      action={text.disable}
      onClose={onClose}
      onConfirm={async () => {
        onClose();
        await setEnabled(shown, false, text.disabledNow(shown.name));
        onDone();
      }}
    >
      <p>{text.disableText}</p>
    </Confirm>
  );
}

function RevokeDialog({ shown, onClose, onDone }: Given & { readonly shown: ShownKey }) {
  const text = keysText();
  return (
    <Confirm
      title={text.revokeTitle(shown.name)}
      action={text.revoke}
      onClose={onClose}
      onConfirm={async () => {
        onClose();
        try {
          await api.post<ShownKey>(`${pathOf(shown)}/revoke`);
          toast(text.revokedNow(shown.name));
        } catch (error) {
          toastFault(error);
        }
        onDone();
      }}
    >
      <p>{text.revokeText}</p>
      <p class="note">
        <code>{shown.prefix}…</code> {shown.owner}
      </p>
    </Confirm>
  );
}

export async function setEnabled(key: ShownKey, enabled: boolean, said: string): Promise<void> {
  try {
    await api.patch<ShownKey>(pathOf(key), { enabled });
    toast(said);
  } catch (error) {
    toastFault(error);
  }
}
