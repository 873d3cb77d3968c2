import type { Provider } from '../../core/provider.ts';
import type { ProvidersAnswer } from '../../pool-api/owner-schema.ts';

/** What an account of each provider can be added with, by name. */
export function presentProviders(providers: Iterable<Provider>): ProvidersAnswer {
  const sorted = [...providers].sort((one, other) => (one.name < other.name ? -1 : 1));
  return {
    success: true,
    providers: sorted.map(({ name, isTrial, takesNoKey, tokens, logins, hasTeams, missing }) => ({
      name,
      trial: isTrial ?? false,
      api_key: takesNoKey ? 'optional' : 'needed',
      refresh_token: tokens !== undefined,
      login: logins !== undefined,
      teams: hasTeams ?? false,
      missing: {
        refresh_token: tokens === undefined ? (missing?.tokens ?? null) : null,
        login: logins === undefined ? (missing?.logins ?? null) : null,
      },
    })),
  };
}
