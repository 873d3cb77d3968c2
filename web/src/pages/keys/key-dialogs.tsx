import { useSignal } from '@preact/signals';
import type { ShownKey } from '../../../../src/core/shown-key.ts';
import { api } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { Snippet } from '../../components/copy.tsx';
import { Dialog, FormDialog } from '../../components/dialog.tsx';
import { SelectField } from '../../components/field.tsx';
import { Notice } from '../../components/page.tsx';
import { toast } from '../../components/toast.tsx';
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
      return <KeyDialog {...given} onSecret={onSecret} />;
    case 'edit':
      return <KeyDialog {...given} key={asked.key.id} shown={asked.key} onSecret={onSecret} />;
    case 'secret':
      return <SecretDialog made={asked} onClose={given.onClose} />;
    case 'rotate':
      return <RotateDialog {...given} shown={asked.key} onSecret={onSecret} />;
    case 'disable':
    case 'revoke':
      return <EndDialog {...given} shown={asked.key} action={asked.kind} />;
    default:
      return null;
  }
}

function KeyDialog({
  shown,
  onClose,
  onDone,
  onSecret,
}: Given & { readonly shown?: ShownKey; readonly onSecret: (made: WithSecret) => void }) {
  const text = keysText();
  const form = useKeyForm(shown);
  const isTried = useSignal(false);
  const read = changeOf(form);

  async function save(): Promise<void> {
    const result = changeOf(form);
    isTried.value = true;
    if ('field' in result) return;
    if (!shown) onSecret(await api.post<WithSecret>('/api/keys', result.change));
    else {
      if (Object.keys(result.change).length > 0) {
        await api.patch<ShownKey>(pathOf(shown), result.change);
        toast(text.saved);
      }
      onClose();
    }
    onDone();
  }

  return (
    <FormDialog
      title={shown ? text.editTitle(shown.name) : text.make}
      action={shown ? text.save : text.makeIt}
      isWide
      onSubmit={save}
      onClose={onClose}
    >
      <KeyFields form={form} fault={isTried.value && 'field' in read ? read : undefined} />
    </FormDialog>
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
    const body = { grace_seconds: Number(grace.value) };
    onSecret(await api.post<WithSecret>(`${pathOf(shown)}/rotate`, body));
    onDone();
  }

  return (
    <FormDialog title={text.rotateTitle(shown.name)} action={text.rotate} onSubmit={rotate} onClose={onClose}>
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
    </FormDialog>
  );
}

/** Before a key is disabled or revoked. */
function EndDialog({
  shown,
  action,
  onClose,
  onDone,
}: Given & { readonly shown: ShownKey; readonly action: 'disable' | 'revoke' }) {
  const text = keysText();
  const isRevoked = action === 'revoke';

  async function end(): Promise<void> {
    if (isRevoked) await api.post<ShownKey>(`${pathOf(shown)}/revoke`);
    else await api.patch<ShownKey>(pathOf(shown), { enabled: false });
    toast((isRevoked ? text.revokedNow : text.disabledNow)(shown.name));
    onClose();
    onDone();
  }

  return (
    <FormDialog
      title={(isRevoked ? text.revokeTitle : text.disableTitle)(shown.name)}
      action={text[action]}
      kind="danger"
      onSubmit={end}
      onClose={onClose}
    >
      <p>{isRevoked ? text.revokeText : text.disableText}</p>
      {isRevoked && (
        <p class="note">
          <code>{shown.prefix}…</code> {shown.owner}
        </p>
      )}
    </FormDialog>
  );
}
