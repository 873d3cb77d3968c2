import type { KeyIssuer, ProviderHttp } from '../../core/provider.ts';
import {
  createOpenAiKeyIssuer,
  createOpenRouterKeyIssuer,
  type OpenAiKeysSettings,
  type OpenRouterKeysSettings,
} from '../../providers/key-issuers.ts';
import {
  type CommandSourceSettings,
  createCommandSource,
  createWebhookSource,
  type WebhookSourceSettings,
} from './deliveries.ts';
import { createDeviceLoginSource, type DeviceLoginSourceSettings } from './device-login.ts';
import { FileSource, type FileSourceSettings } from './import-file.ts';
import { IssuedKeysSource } from './issued-keys.ts';
import type { Source, SourceTools } from './source.ts';

export type SourceSettings =
  | FileSourceSettings
  | CommandSourceSettings
  | WebhookSourceSettings
  | DeviceLoginSourceSettings
  | ({ readonly type: 'openrouter_keys'; readonly name: string } & OpenRouterKeysSettings)
  | ({ readonly type: 'openai_service_accounts'; readonly name: string } & OpenAiKeysSettings);

/** The configured sources, in order. Another kind is a file beside this one and a line here. */
export function openSources(
  all: readonly SourceSettings[],
  tools: SourceTools,
  web: { readonly http: ProviderHttp; readonly userAgent: string },
): Source[] {
  const withIssuer = (
    provider: string,
    issuer: KeyIssuer,
    settings: SourceSettings & { adminKey: string },
  ) => {
    tools.basics.secrets.add(settings.adminKey);
    return new IssuedKeysSource({ ...settings, provider, issuer }, tools);
  };
  const openSource = (settings: SourceSettings): Source => {
    switch (settings.type) {
      case 'file':
        return new FileSource(settings, tools);
      case 'command':
        return createCommandSource(settings, tools);
      case 'webhook':
        return createWebhookSource(settings, tools, web);
      case 'openrouter_keys':
        return withIssuer('openrouter', createOpenRouterKeyIssuer({ ...settings, ...web }), settings);
      case 'openai_service_accounts':
        return withIssuer('openai', createOpenAiKeyIssuer({ ...settings, ...web }), settings);
      case 'device_login':
        return createDeviceLoginSource(settings, tools);
    }
  };
  return all.map(openSource);
}
