import { type Signal, useSignal } from '@preact/signals';
import { useLayoutEffect } from 'preact/hooks';
import type { ExplainedTurn } from '../../../../src/core/shown-models.ts';
import { api, useLoaded } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { CheckField } from '../../components/choice.tsx';
import { namesIn, SelectField, TextField } from '../../components/field.tsx';
import { Form } from '../../components/form.tsx';
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
  const asked = useSignal<object | undefined>(undefined);
  const loaded = useLoaded(
    async (abort) =>
      asked.value && (await api.post<ExplainedTurn>('/api/models/explain', asked.value, abort)),
    [asked.value],
  );

  function ask(): void {
    fault.value = model.value.trim() === '' ? text.noModel : undefined;
    if (fault.value !== undefined) return;
    const list = namesIn(labels.value);
    asked.value = {
      model: model.value.trim(),
      dialect: dialect.value,
      tools: tools.value,
      images: images.value,
      ...(tokens.value !== '' && { tokens: Number(tokens.value) }),
      ...(effort.value !== '' && { effort: effort.value }),
      ...(list.length > 0 && { labels: list }),
      ...(key.value.trim() !== '' && { key: key.value.trim() }),
    };
  }
  useLayoutEffect(() => {
    if (named !== '') ask();
  }, [named]);
  const found = loaded.error.value ? undefined : loaded.value.value;

  return (
    <>
      <Card>
        <Form class="question" onSubmit={ask}>
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
        </Form>
      </Card>
      <div aria-live="polite" class="stack">
        {loaded.error.value && <Fault error={loaded.error.value} retry={loaded.reload} />}
        {found && <Explanation found={found} tokens={Number(tokens.value)} />}
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
  return (
    <TextField
      label={text.model}
      hint={text.modelHint}
      error={given.fault}
      value={given.model}
      names={given.names}
      isCode
    />
  );
}
