import { type Signal, useSignal } from '@preact/signals';
import { useEffect, useId } from 'preact/hooks';
import type { ExplainedTurn } from '../../../../src/core/explained-turn.ts';
import { type ApiError, api, asError } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { CheckField, SelectField, TextField } from '../../components/field.tsx';
import { Card, Fault } from '../../components/page.tsx';
import { questionText } from '../../texts/model-question.ts';
import { Explanation } from './explanation.tsx';

export type Dialect = 'chat' | 'responses' | 'messages' | 'gemini';

export const dialects: readonly { readonly value: Dialect; readonly label: string }[] = [
  { value: 'chat', label: 'OpenAI Chat Completions' },
  { value: 'responses', label: 'OpenAI Responses' },
  { value: 'messages', label: 'Anthropic Messages' },
  { value: 'gemini', label: 'Google Gemini' },
];

interface Named {
  /** What the page before named. */
  readonly named: string;
  /** To choose from. */
  readonly names: readonly string[];
}

/** Asks which account would answer a request that is described here. */
export function AskBox({ named, names }: Named) {
  const text = questionText();
  const model = useSignal(named);
  const dialect = useSignal<Dialect>('chat');
  const tools = useSignal(false);
  const images = useSignal(false);
  const tokens = useSignal('');
  const effort = useSignal<'' | 'low' | 'medium' | 'high'>('');
  const labels = useSignal('');
  const key = useSignal('');
  const fault = useSignal<string | undefined>(undefined);
  const error = useSignal<ApiError | undefined>(undefined);
  const found = useSignal<ExplainedTurn | undefined>(undefined);

  async function ask(): Promise<void> {
    fault.value = model.value.trim() === '' ? text.noModel : undefined;
    if (fault.value !== undefined) return;
    const list = labels.value.split(',').flatMap((label) => label.trim() || []);
    try {
      found.value = await api.post<ExplainedTurn>('/api/models/explain', {
        model: model.value.trim(),
        dialect: dialect.value,
        tools: tools.value,
        images: images.value,
        ...(tokens.value !== '' && { tokens: Number(tokens.value) }),
        ...(effort.value !== '' && { effort: effort.value }),
        ...(list.length > 0 && { labels: list }),
        ...(key.value.trim() !== '' && { key: key.value.trim() }),
      });
      error.value = undefined;
    } catch (thrown) {
      found.value = undefined;
      error.value = asError(thrown);
    }
  }
  useEffect(() => {
    if (named !== '') void ask();
  }, [named]);

  return (
    <>
      <Card>
        <form
          class="question"
          noValidate
          onSubmit={(event) => {
            event.preventDefault();
            void ask();
          }}
        >
          <p class="quiet">{text.lead}</p>
          <ModelField model={model} names={names} fault={fault.value} />
          <SelectField label={text.dialect} value={dialect} options={dialects} />
          <fieldset class="has">
            <legend>{text.has}</legend>
            <CheckField label={text.tools} value={tools} />
            <CheckField label={text.images} value={images} />
          </fieldset>
          <details class="wide">
            <summary>{text.more}</summary>
            <div class="question">
              <TextField label={text.tokens} value={tokens} type="number" inputMode="numeric" />
              <SelectField
                label={text.effort}
                value={effort}
                options={[
                  { value: '', label: text.asIs },
                  { value: 'low', label: 'low' },
                  { value: 'medium', label: 'medium' },
                  { value: 'high', label: 'high' },
                ]}
              />
              <TextField label={text.labels} value={labels} hint={text.labelsHint} />
              <TextField label={text.keyName} value={key} hint={text.keyNameHint} />
            </div>
          </details>
          <div class="actions wide">
            <Button type="submit" kind="primary">
              {text.ask}
            </Button>
          </div>
        </form>
      </Card>
      <div aria-live="polite" class="stack">
        {error.value && <Fault error={error.value} retry={() => void ask()} />}
        {found.value && <Explanation found={found.value} tokens={Number(tokens.value)} />}
      </div>
    </>
  );
}

export function ModelField(given: {
  readonly model: Signal<string>;
  readonly names: readonly string[];
  readonly fault: string | undefined;
}) {
  const text = questionText();
  const id = useId();
  return (
    <div class={`field ${given.fault ? 'wrong' : ''}`}>
      <label for={id}>{text.model}</label>
      <input
        id={id}
        class="code"
        list={`${id}-names`}
        value={given.model.value}
        autocomplete="off"
        spellcheck={false}
        aria-describedby={`${id}-hint`}
        aria-invalid={given.fault !== undefined}
        onInput={({ currentTarget }) => {
          given.model.value = currentTarget.value;
        }}
      />
      <datalist id={`${id}-names`}>
        {given.names.slice(0, 500).map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      <p class={given.fault ? 'error' : 'hint'} id={`${id}-hint`} aria-live="polite">
        {given.fault ?? text.modelHint}
      </p>
    </div>
  );
}
