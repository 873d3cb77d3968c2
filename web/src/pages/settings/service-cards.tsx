import type { ShownSettings } from '../../../../src/core/shown-settings.ts';
import { Bar } from '../../components/bar.tsx';
import { Badge, Card, Facts, Notice } from '../../components/page.tsx';
import { Time } from '../../components/time.tsx';
import { locale } from '../../text.ts';
import { settingsText } from '../../texts/settings.ts';

const nearlyFull = 0.9;

export function StoresCard({ shown }: { readonly shown: ShownSettings }) {
  const text = settingsText();
  const names = { accounts: text.accounts, state: text.storeState, usage: text.storeUsage };
  return (
    <Card title={text.stores}>
      <ul class="plain">
        {shown.stores.map(({ name, kind, reachable, writable }) => (
          <li key={name} class="row between">
            <span>
              {names[name]} <small class="quiet">{kind}</small>
            </span>
            <Badge tone={!reachable ? 'bad' : writable ? 'ok' : 'rest'}>
              {!reachable ? text.away : writable ? text.works : text.readOnly}
            </Badge>
          </li>
        ))}
        {shown.disks.map(({ folder, free_bytes: free, total_bytes: total }) => {
          const share = free === null || total === null || total === 0 ? undefined : 1 - free / total;
          return (
            <li key={folder}>
              <code class="place">{folder}</code>
              <Bar
                label={text.used(folder)}
                share={share}
                tone={share === undefined ? 'quiet' : share >= nearlyFull ? 'rest' : 'accent'}
                isBare
                note={free === null || total === null ? text.noDisk : text.free(bytes(free), bytes(total))}
              />
            </li>
          );
        })}
      </ul>
    </Card>
  );
}

export function ConfigFileCard({ file }: { readonly file: ShownSettings['config_file'] }) {
  const text = settingsText();
  const states = {
    ok: ['ok', text.fileOk],
    error: ['bad', text.fileError],
    absent: ['quiet', text.fileAbsent],
  } as const;
  const [tone, word] = states[file.status];
  return (
    <Card title={text.file} actions={<Badge tone={tone}>{word}</Badge>}>
      <code class="place">{file.path}</code>
      {file.status === 'absent' && <p class="hint">{text.fileAbsentHint}</p>}
      {file.error !== null && (
        <Notice tone="bad">
          {text.fileRefused}
          <p class="fault-text">{file.error}</p>
        </Notice>
      )}
      {file.status !== 'absent' && (
        <Facts
          facts={[
            [text.readAt, <Time key="read" at={file.loaded_at} relative />],
            [text.reloaded, codes(file.reloaded)],
            [text.afterRestart, codes(file.after_restart)],
            [
              text.providers,
              named(
                file.providers.map(({ name, type, server }) => [name, server ? `${type}, ${server}` : type]),
              ),
            ],
            [text.sources, named(file.sources.map(({ name, type }) => [name, name === type ? '' : type]))],
          ]}
        />
      )}
    </Card>
  );
}

function named(entries: readonly (readonly [name: string, more: string])[]) {
  if (entries.length === 0) return settingsText().none;
  return entries.map(([name, more]) => (
    <div key={name}>
      <code>{name}</code> <small class="quiet">{more}</small>
    </div>
  ));
}

function codes(names: readonly string[]) {
  return (
    <span class="row">
      {names.map((name) => (
        <code key={name}>{name}</code>
      ))}
    </span>
  );
}

const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const;

function bytes(count: number): string {
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, count)) / 3)));
  return new Intl.NumberFormat(locale(), {
    style: 'unit',
    unit: units[step] ?? 'byte',
    maximumFractionDigits: 1,
  }).format(count / 1_000 ** step);
}
