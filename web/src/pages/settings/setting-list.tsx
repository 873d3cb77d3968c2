import { useSignal } from '@preact/signals';
import type { ShownSetting } from '../../../../src/core/shown-settings.ts';
import { Choices } from '../../components/choice.tsx';
import { SearchField } from '../../components/field.tsx';
import { Badge, Card, Empty } from '../../components/page.tsx';
import { language } from '../../preferences.ts';
import { settingHelp } from '../../texts/setting-help.ts';
import { settingsText } from '../../texts/settings.ts';

type Text = ReturnType<typeof settingsText>;

const groupWords = {
  services: 'groupServices',
  access: 'groupAccess',
  pool: 'groupPool',
  turns: 'groupTurns',
  storage: 'groupStorage',
  logs: 'groupLogs',
  network: 'groupNetwork',
  usage: 'groupUsage',
  tracing: 'groupTracing',
} as const;
const order = Object.keys(groupWords);

/** All settings by group, with a search over what is shown of them. */
export function SettingList({ settings }: { readonly settings: readonly ShownSetting[] }) {
  const text = settingsText();
  const search = useSignal('');
  const which = useSignal<'all' | 'changed'>('all');
  const words = search.value.trim().toLowerCase().split(/\s+/);
  const fitting = settings.filter((one) => {
    if (which.value === 'changed' && !one.is_set) return false;
    const said = `${one.name} ${one.value ?? ''} ${one.help} ${helpOf(one)}`.toLowerCase();
    return words.every((word) => said.includes(word));
  });
  const groups = [...new Set(fitting.map(({ group }) => group))].sort(
    (one, other) => rank(one) - rank(other),
  );
  return (
    <section class="stack" aria-label={text.settings}>
      <div class="filters">
        <SearchField label={text.search} value={search} />
        <Choices
          label={text.show}
          look="bare"
          value={which}
          options={[
            { value: 'all', label: text.all },
            { value: 'changed', label: text.changed },
          ]}
        />
      </div>
      {groups.map((group) => (
        <Card key={group} title={groupName(group, text)}>
          <ul class="setting-rows">
            {fitting
              .filter((one) => one.group === group)
              .map((one) => (
                <Row key={one.name} one={one} />
              ))}
          </ul>
        </Card>
      ))}
      {fitting.length === 0 && <Empty title={text.nothing}>{text.nothingHint}</Empty>}
    </section>
  );
}

function Row({ one }: { readonly one: ShownSetting }) {
  const text = settingsText();
  const { name, value, source, is_set: isSet, is_secret: isSecret } = one;
  const sources = {
    environment: ['accent', text.environment],
    '.env': ['accent', text.envFile],
    default: ['quiet', text.default],
    unset: ['quiet', text.unset],
  } as const;
  const [tone, word] = sources[source];
  const owner = source === 'environment' ? text.ownedBy : source === '.env' ? text.ownedByFile : undefined;
  const isOther = isSet && one.default !== null && one.default !== value;
  return (
    <li>
      <div class="setting-head">
        <code class="setting-name">{name}</code>
        <span class="setting-source" title={owner}>
          <Badge tone={tone}>{word}</Badge>
        </span>
      </div>
      <div class="setting-value">
        {value !== null ? (
          <code>{value === '' ? text.empty : value}</code>
        ) : (
          <span class="quiet">{isSecret && isSet ? text.isSet : text.notSet}</span>
        )}
        {isOther && <small class="quiet">{text.usual(one.default ?? '')}</small>}
      </div>
      <p class="setting-help">{helpOf(one)}</p>
    </li>
  );
}

function helpOf({ name, help }: ShownSetting): string {
  return (language.value === 'zh' ? settingHelp[name] : undefined) ?? help;
}

function groupName(group: string, text: Text): string {
  const known = Object.entries(groupWords).find(([name]) => name === group);
  return known ? text[known[1]] : text.groupProvider(group);
}

function rank(group: string): number {
  const found = order.indexOf(group);
  return found === -1 ? order.length : found;
}
