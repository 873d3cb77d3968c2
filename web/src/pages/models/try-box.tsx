import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { ShownTurn } from '../../../../src/core/shown-turn.ts';
import { type ApiError, api, asError } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { SelectField, TextArea, TextField } from '../../components/field.tsx';
import { Form } from '../../components/form.tsx';
import { Card, Fault, Notice } from '../../components/page.tsx';
import { shownNumber } from '../../format.ts';
import { questionText } from '../../texts/model-question.ts';
import { type Dialect, dialects, ModelField } from './ask-box.tsx';
import { TrialRecord } from './trial-record.tsx';
import { type TrialHead, tryTurn } from './try-turn.ts';

/** An answer without end must not fill the memory of the browser: its last characters are kept. */
const mostShown = 100_000;
const recordTries = 10;
const recordEveryMs = 300;

/** Sends a real turn through the gateway, as a client would. */
export function TryBox({ named, names }: { readonly named: string; readonly names: readonly string[] }) {
  const text = questionText();
  const model = useSignal(named);
  const dialect = useSignal<Dialect>('chat');
  const prompt = useSignal(text.usualPrompt);
  const key = useSignal('');
  const fault = useSignal<string | undefined>(undefined);
  const head = useSignal<TrialHead | undefined>(undefined);
  const answer = useSignal('');
  const reasoning = useSignal('');
  const isCut = useSignal(false);
  const state = useSignal<'idle' | 'running' | 'ended' | 'stopped'>('idle');
  const error = useSignal<ApiError | undefined>(undefined);
  const record = useSignal<ShownTurn | undefined>(undefined);
  const running = useRef<AbortController>(undefined);
  useEffect(() => () => running.current?.abort(), []);

  async function send(): Promise<void> {
    fault.value = model.value.trim() === '' ? text.noModel : undefined;
    if (fault.value !== undefined || state.peek() === 'running') return;
    const abort = new AbortController();
    running.current = abort;
    head.value = undefined;
    answer.value = '';
    reasoning.value = '';
    isCut.value = false;
    error.value = undefined;
    record.value = undefined;
    state.value = 'running';
    // Drawn once for a frame, however many pieces come in it.
    const written = gathered((added) => {
      const whole = answer.value + added;
      isCut.value ||= whole.length > mostShown;
      answer.value = whole.slice(-mostShown);
    });
    const thought = gathered((added) => {
      reasoning.value = (reasoning.value + added).slice(-mostShown);
    });
    const turn = {
      dialect: dialect.value,
      model: model.value.trim(),
      prompt: prompt.value,
      key: key.value.trim(),
    };
    const listener = {
      onHead: (given: TrialHead) => {
        head.value = given;
      },
      onText: written.add,
      onReasoning: thought.add,
    };
    try {
      await tryTurn(turn, listener, abort.signal);
      state.value = 'ended';
    } catch (thrown) {
      state.value = abort.signal.aborted ? 'stopped' : 'ended';
      if (!abort.signal.aborted) error.value = asError(thrown);
    }
    written.flush();
    thought.flush();
    // What was refused before it was planned has no record.
    const { requestId, route } = head.peek() ?? {};
    const found = !error.peek() || route ? await recordOf(requestId) : undefined;
    // Another turn may have been sent since.
    if (running.current === abort) record.value = found;
  }

  const isRunning = state.value === 'running';
  return (
    <>
      <Card>
        <Form class="question" onSubmit={() => void send()}>
          <p class="quiet">{text.tryLead}</p>
          <ModelField model={model} names={names} fault={fault.value} />
          <SelectField label={text.dialect} value={dialect} options={dialects} />
          <TextField label={text.key} value={key} type="password" hint={text.keyHint} isCode />
          <div class="wide">
            <TextArea label={text.prompt} value={prompt} rows={3} />
          </div>
          <div class="actions wide">
            <Button type="submit" kind="primary" isDisabled={isRunning}>
              {text.send}
            </Button>
            {isRunning && <Button onClick={() => running.current?.abort()}>{text.stop}</Button>}
          </div>
        </Form>
      </Card>
      {state.value !== 'idle' && (
        <Card title={text.answer}>
          {reasoning.value !== '' && (
            <details>
              <summary>{text.reasoning}</summary>
              <pre class="trial-text quiet">{reasoning.value}</pre>
            </details>
          )}
          {isCut.value && <p class="quiet">{text.cut(shownNumber(mostShown))}</p>}
          {answer.value !== '' && (
            // biome-ignore lint/a11y/noNoninteractiveTabindex: a long answer is scrolled by keyboard too.
            <pre class="trial-text" tabIndex={0}>
              {answer.value}
            </pre>
          )}
          {answer.value === '' && isRunning && <p class="quiet">{text.waiting}</p>}
          {answer.value === '' && state.value === 'ended' && !error.value && (
            <p class="quiet">{text.empty}</p>
          )}
          {state.value === 'stopped' && <Notice tone="rest">{text.stopped}</Notice>}
          {error.value && <Fault error={error.value} />}
          {error.value?.status === 401 && <p>{text.keyNeeded}</p>}
        </Card>
      )}
      {head.value && (!error.value || head.value.route !== '') && (
        <TrialRecord head={head.value} turn={record.value} />
      )}
    </>
  );
}

/** Adds what came since at the next frame. */
function gathered(draw: (added: string) => void) {
  let waiting = '';
  let frame: number | undefined;
  const flush = (): void => {
    if (frame !== undefined) cancelAnimationFrame(frame);
    frame = undefined;
    if (waiting !== '') draw(waiting);
    waiting = '';
  };
  return {
    add(text: string): void {
      waiting = (waiting + text).slice(-2 * mostShown);
      frame ??= requestAnimationFrame(flush);
    },
    flush,
  };
}

/** The record ends a moment after the answer. */
async function recordOf(requestId: string | undefined): Promise<ShownTurn | undefined> {
  if (!requestId) return undefined;
  let turn: ShownTurn | undefined;
  for (let count = 0; count < recordTries; count += 1) {
    turn = await api.get<ShownTurn>(`/api/turns/${encodeURIComponent(requestId)}`).catch(() => undefined);
    if (turn?.outcome !== 'running') return turn;
    await new Promise((resolve) => setTimeout(resolve, recordEveryMs));
  }
  return turn;
}
