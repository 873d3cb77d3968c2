import { useSignal } from '@preact/signals';
import { frameText } from '../texts/frame.ts';
import { Button } from './button.tsx';
import { toast } from './toast.tsx';
import './copy.css';

export function CopyButton({ text, label }: { readonly text: string; readonly label?: string }) {
  const words = frameText();
  const isCopied = useSignal(false);
  async function copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      isCopied.value = true;
      setTimeout(() => {
        isCopied.value = false;
      }, 2_000);
    } catch {
      // Over plain HTTP from another machine there is no clipboard.
      toast(words.copyFailed, 'rest');
    }
  }
  return (
    <Button
      kind="quiet"
      icon={isCopied.value ? 'check' : 'copy'}
      label={isCopied.value ? words.copied : (label ?? words.copy)}
      onClick={copy}
    />
  );
}

/** An id or another short text that is taken over. */
export function Copied({ value }: { readonly value: string }) {
  return (
    <span class="copied">
      <code>{value}</code>
      <CopyButton text={value} />
    </span>
  );
}

/** A text to take over, with its button. */
export function Snippet({ text, label }: { readonly text: string; readonly label?: string }) {
  return (
    <div class="snippet">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what is wider than the page is scrolled by keyboard too. */}
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
      <CopyButton text={text} {...(label === undefined ? {} : { label })} />
    </div>
  );
}
