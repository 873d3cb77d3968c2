import { type Signal, useSignal } from '@preact/signals';
import { useEffect, useId } from 'preact/hooks';
import type { ImportAnswer } from '../../../../src/pool-api/account-schema.ts';
import { api } from '../../api.ts';
import { Bar } from '../../components/bar.tsx';
import { Button } from '../../components/button.tsx';
import { CheckField } from '../../components/choice.tsx';
import { TextArea, TextField } from '../../components/field.tsx';
import { Form, FormFault } from '../../components/form.tsx';
import { Badge, Fault, Notice, type Tone } from '../../components/page.tsx';
import { Table } from '../../components/table.tsx';
import { shownNumber } from '../../format.ts';
import { addingText } from '../../texts/account-adding.ts';
import type { Provider } from './account-actions.tsx';
import { ImportJob, importJob, importLines, isSealed } from './import-job.ts';
import { CredentialKind, ProviderField } from './provider-field.tsx';

const mostBytes = 16 * 1024 * 1024;
const mostLines = 10_000;

type LineResult = ImportAnswer['results'][number];

/** Many accounts: lines that were pasted, or a file. */
export function ImportForm({
  providers,
  onChange,
}: {
  readonly providers: readonly Provider[];
  readonly onChange: () => void;
}) {
  const text = addingText();
  const job = importJob.value;
  const sealedResults = useSignal<readonly LineResult[] | undefined>(undefined);
  if (job) {
    return (
      <ImportProgress
        job={job}
        endLabel={text.importAgain}
        onEnd={() => {
          importJob.value = undefined;
          onChange();
        }}
      />
    );
  }
  if (sealedResults.value) {
    return (
      <>
        <ImportResults results={sealedResults.value} />
        <Button
          onClick={() => {
            sealedResults.value = undefined;
          }}
        >
          {text.importAgain}
        </Button>
      </>
    );
  }
  return <ImportInput providers={providers} onChange={onChange} sealedResults={sealedResults} />;
}

function ImportInput(given: {
  readonly providers: readonly Provider[];
  readonly onChange: () => void;
  readonly sealedResults: Signal<readonly LineResult[] | undefined>;
}) {
  const text = addingText();
  const provider = useSignal(given.providers[0]?.name ?? '');
  const kind = useSignal<'api_key' | 'refresh_token'>('api_key');
  const lines = useSignal('');
  const file = useSignal<{ readonly name: string; readonly text: string } | undefined>(undefined);
  const passphrase = useSignal('');
  const fault = useSignal<string | undefined>(undefined);
  const fileId = useId();
  const content = file.value?.text ?? lines.value;
  const isSealedFile = isSealed(content);
  const count = isSealedFile ? 0 : importLines(content, provider.value, kind.value).length;

  async function choose(input: HTMLInputElement): Promise<void> {
    const chosen = input.files?.[0];
    input.value = '';
    if (!chosen) return;
    fault.value = chosen.size > mostBytes ? text.fileTooLarge : undefined;
    if (chosen.size <= mostBytes) file.value = { name: chosen.name, text: await chosen.text() };
  }

  async function begin(): Promise<void> {
    if (isSealedFile) {
      const sent = { sealed: content, passphrase: passphrase.value };
      given.sealedResults.value = (await api.post<ImportAnswer>('/api/accounts/import', sent)).results;
      given.onChange();
      return;
    }
    fault.value =
      count === 0 ? text.noLines : count > mostLines ? text.tooManyLines(shownNumber(mostLines)) : undefined;
    if (fault.value !== undefined) return;
    const job = new ImportJob(importLines(content, provider.value, kind.value));
    lines.value = '';
    file.value = undefined;
    importJob.value = job;
    await job.run();
    given.onChange();
  }

  return (
    <Form class="import" onSubmit={begin}>
      <FormFault />
      {!isSealedFile && (
        <div class="fields">
          <ProviderField providers={given.providers} value={provider} />
          <CredentialKind
            provider={given.providers.find(({ name }) => name === provider.value)}
            value={kind}
          />
        </div>
      )}
      {file.value ? (
        <Notice
          tone="accent"
          action={
            <Button
              kind="quiet"
              icon="close"
              label={text.discard}
              onClick={() => {
                file.value = undefined;
              }}
            />
          }
        >
          <bdi>
            {isSealedFile
              ? text.sealedRead(file.value.name)
              : text.fileRead(file.value.name, shownNumber(count))}
          </bdi>
        </Notice>
      ) : (
        <TextArea
          label={text.lines}
          hint={text.linesHint}
          value={lines}
          rows={8}
          isCode
          error={fault.value}
        />
      )}
      {file.value && fault.value && <p class="error">{fault.value}</p>}
      {isSealedFile && (
        <TextField label={text.passphrase} value={passphrase} type="password" autoComplete="off" />
      )}
      <div class="form-actions">
        <label class="button" for={fileId}>
          {text.chooseFile}
        </label>
        <input
          id={fileId}
          class="read-out"
          type="file"
          accept=".jsonl,.ndjson,.json,.txt"
          onChange={({ currentTarget }) => void choose(currentTarget)}
        />
        <Button type="submit" kind="primary">
          {isSealedFile || count === 0 ? text.importing : text.countedLines(shownNumber(count))}
        </Button>
      </div>
    </Form>
  );
}

export function ImportProgress({
  job,
  endLabel,
  onEnd,
}: {
  readonly job: ImportJob;
  /** Of the button that puts a finished import aside. */
  readonly endLabel: string;
  readonly onEnd: () => void;
}) {
  const text = addingText();
  const isRunning = job.isRunning.value;
  const { left, total } = job;
  useEffect(() => {
    if (!isRunning) return;
    const warn = (event: BeforeUnloadEvent): void => event.preventDefault();
    addEventListener('beforeunload', warn);
    return () => removeEventListener('beforeunload', warn);
  }, [isRunning]);
  return (
    <div class="import">
      <Bar
        label={text.progress(shownNumber(total - left), shownNumber(total))}
        share={(total - left) / Math.max(1, total)}
        tone={left > 0 && !isRunning ? 'rest' : 'accent'}
      />
      {job.error.value && job.error.value.status !== 401 && <Fault error={job.error.value} />}
      {!isRunning && left > 0 && (
        <Notice tone="rest">
          {text.paused(shownNumber(left))} {text.pausedLong}
        </Notice>
      )}
      <ImportResults results={job.results.value} />
      {!isRunning && (
        <div class="form-actions">
          <Button onClick={onEnd}>{left > 0 ? text.discard : endLabel}</Button>
          {left > 0 && (
            <Button kind="primary" onClick={() => job.run()}>
              {text.goOn}
            </Button>
          )}
        </div>
      )}
    </div>
  );
}

const lineTones: Record<LineResult['result'], Tone> = {
  added: 'ok',
  duplicate: 'quiet',
  rejected: 'rest',
  failed: 'bad',
};

function ImportResults({ results }: { readonly results: readonly LineResult[] }) {
  const text = addingText();
  const isOnlyBad = useSignal(true);
  const words = {
    added: text.lineAdded,
    duplicate: text.lineDuplicate,
    rejected: text.lineRejected,
    failed: text.failed,
  };
  if (results.length === 0) return null;
  const count = (...kinds: LineResult['result'][]) =>
    shownNumber(results.filter(({ result }) => kinds.includes(result)).length);
  const shown = results.filter(
    ({ result }) => !isOnlyBad.value || result === 'rejected' || result === 'failed',
  );
  return (
    <>
      <p aria-live="polite">
        {text.summary(count('added'), count('duplicate'), count('rejected', 'failed'))}
      </p>
      <CheckField label={text.onlyBad} value={isOnlyBad} />
      <Table
        label={text.result}
        rows={shown}
        keyOf={({ line }) => String(line)}
        empty={null}
        columns={[
          { id: 'line', label: text.line, cell: ({ line }) => line, align: 'end' },
          {
            id: 'result',
            label: text.result,
            cell: ({ result }) => <Badge tone={lineTones[result]}>{words[result]}</Badge>,
          },
          { id: 'reason', label: text.reason, cell: ({ reason }) => <bdi>{reason}</bdi> },
        ]}
      />
    </>
  );
}
