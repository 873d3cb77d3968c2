import type { ComponentType } from 'preact';
import type { PageId } from './navigation.ts';
import { AccountsPage } from './pages/accounts/accounts-page.tsx';
import { KeysPage } from './pages/keys/keys-page.tsx';
import { ModelsPage } from './pages/models/models-page.tsx';
import { OverviewPage } from './pages/overview/overview-page.tsx';
import { SettingsPage } from './pages/settings/settings-page.tsx';
import { StartPage } from './pages/start/start-page.tsx';
import { TurnsPage } from './pages/turns/turns-page.tsx';
import { UsagePage } from './pages/usage/usage-page.tsx';

export interface Page {
  readonly id: PageId;
  /** The services that know what it shows. */
  readonly services: readonly ('gateway' | 'pool')[];
  readonly component: ComponentType;
}

/** In the order of the navigation. */
export const pages: readonly Page[] = [
  { id: 'start', services: ['gateway', 'pool'], component: StartPage },
  { id: 'overview', services: ['gateway', 'pool'], component: OverviewPage },
  { id: 'accounts', services: ['gateway', 'pool'], component: AccountsPage },
  { id: 'turns', services: ['gateway'], component: TurnsPage },
  { id: 'usage', services: ['gateway'], component: UsagePage },
  { id: 'keys', services: ['gateway'], component: KeysPage },
  { id: 'models', services: ['gateway'], component: ModelsPage },
  { id: 'settings', services: ['gateway', 'pool'], component: SettingsPage },
];
