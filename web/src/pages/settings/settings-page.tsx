import './settings.css';
import type { ShownSettings } from '../../../../src/core/shown-settings.ts';
import { api, useLoaded } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { PageHead, Shown, Stat, Stats } from '../../components/page.tsx';
import { toast, toastFault } from '../../components/toast.tsx';
import { now, shortTime, shownDuration, shownNumber } from '../../format.ts';
import { settingsText } from '../../texts/settings.ts';
import { ConfigFileCard, StoresCard } from './service-cards.tsx';
import { SettingList } from './setting-list.tsx';

const everyMs = 15_000;

export function SettingsPage() {
  const text = settingsText();
  const loaded = useLoaded((abort) => api.get<ShownSettings>('/api/settings', {}, abort), [], everyMs);
  const shown = loaded.value.value;
  const mayReload = shown?.service === 'gateway' && shown.config_file.status !== 'absent';

  async function readAgain(): Promise<void> {
    try {
      const { status } = await api.post<{ status: string }>('/api/config/reload');
      toast(status === 'ok' ? text.reloadDone : text.reloadRefused, status === 'ok' ? 'ok' : 'rest');
    } catch (thrown) {
      toastFault(thrown);
    }
    await loaded.reload();
  }

  return (
    <div class="settings stack">
      <PageHead title={text.settings} lead={text.lead}>
        {mayReload && (
          <Button icon="refresh" onClick={readAgain}>
            {text.reload}
          </Button>
        )}
      </PageHead>
      <Shown of={loaded}>
        {(given) => (
          <>
            <ServiceStats shown={given} />
            <div class="grid">
              <StoresCard shown={given} />
              <ConfigFileCard file={given.config_file} />
            </div>
            <SettingList settings={given.settings} />
          </>
        )}
      </Shown>
    </div>
  );
}

function ServiceStats({ shown }: { readonly shown: ShownSettings }) {
  const text = settingsText();
  const { version, node, platform, runs, started_at, settings } = shown;
  const set = settings.filter(({ is_set }) => is_set).length;
  return (
    <Stats>
      <Stat name={text.version} value={version} note={`Node ${node.replace(/^v/, '')}, ${platform}`} />
      <Stat name={text.runs} value={runs === 'both' ? 2 : 1} note={text[runs]} />
      <Stat
        name={text.uptime}
        value={shownDuration(Math.max(1_000, now.value - Date.parse(started_at)))}
        note={text.since(shortTime(Date.parse(started_at)))}
      />
      <Stat name={text.set} value={shownNumber(set)} note={text.ofAll(shownNumber(settings.length))} />
    </Stats>
  );
}
