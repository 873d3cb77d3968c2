import { type Signal, signal } from '@preact/signals';
import type { ComponentType } from 'preact';
import type { PageId } from './navigation.ts';

export interface Page {
  readonly id: PageId;
  /** The services that know what it shows. */
  readonly services: readonly ('gateway' | 'pool')[];
  /** `missing`: its files could not be loaded; undefined until they are. */
  readonly component: Signal<ComponentType | 'missing' | undefined>;
  load(): Promise<void>;
}

const both = ['gateway', 'pool'] as const;

/** In the order of the navigation. */
export const pages: readonly Page[] = [
  lazyPage('start', both, async () => (await import('./pages/start/start-page.tsx')).StartPage),
  lazyPage('overview', both, async () => (await import('./pages/overview/overview-page.tsx')).OverviewPage),
  lazyPage('accounts', both, async () => (await import('./pages/accounts/accounts-page.tsx')).AccountsPage),
  lazyPage('turns', ['gateway'], async () => (await import('./pages/turns/turns-page.tsx')).TurnsPage),
  lazyPage('usage', ['gateway'], async () => (await import('./pages/usage/usage-page.tsx')).UsagePage),
  lazyPage('keys', ['gateway'], async () => (await import('./pages/keys/keys-page.tsx')).KeysPage),
  lazyPage('models', ['gateway'], async () => (await import('./pages/models/models-page.tsx')).ModelsPage),
  lazyPage('settings', both, async () => (await import('./pages/settings/settings-page.tsx')).SettingsPage),
];

/** In place of all of them until a person has signed in. */
export const signInPage = lazyPage(
  'start',
  both,
  async () => (await import('./pages/sign-in/sign-in-page.tsx')).SignInPage,
);

function lazyPage(id: PageId, services: Page['services'], load: () => Promise<ComponentType>): Page {
  const component = signal<ComponentType | 'missing' | undefined>(undefined);
  return {
    id,
    services,
    component,
    load: async () => {
      component.value ??= await load().catch(() => 'missing' as const);
    },
  };
}
