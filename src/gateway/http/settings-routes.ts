import { AppError } from '../../core/errors.ts';
import type { ServiceFacts, ShownSettings } from '../../core/shown-settings.ts';
import * as answers from './api-answers.ts';
import type { GatewayRoute } from './gateway-http.ts';
import type { HealthSources } from './health.ts';

export const settingsRoutes: readonly GatewayRoute[] = [
  {
    method: 'GET',
    path: '/api/settings',
    summary: 'Every setting with its value and where that comes from; no secrets',
    access: 'adminKey',
    answers: { 200: { description: 'The settings.', body: answers.settings } },
    handle: ({ settings }) => settings(),
  },
  {
    method: 'POST',
    path: '/api/config/reload',
    summary: 'Read the configuration file again now',
    description:
      'Routes, aliases and models count from now on; turns that run end as they began. A faulty file is refused: "error" ' +
      'says why, and what it said before still counts. Other settings count after a restart.',
    access: 'adminKey',
    takesBody: false,
    answers: {
      200: { description: 'How the file stands.', body: answers.configStanding },
      404: { description: 'There was no file when the service started.', body: answers.errorAnswer },
    },
    handle({ configWatch }) {
      if (configWatch) return configWatch.reload();
      throw new AppError(
        'not_found',
        'There was no configuration file when the gateway started: make one, and restart the gateway.',
      );
    },
  },
];

export function gatewaySettings(
  facts: ServiceFacts,
  { poolWatch, keep, database }: Pick<HealthSources, 'poolWatch' | 'keep' | 'database'>,
): ShownSettings {
  const { store, isReachable, isWritable } = keep.figures();
  return {
    service: 'gateway',
    stores: [
      {
        name: 'accounts',
        kind: 'pool',
        reachable: poolWatch.isReachable && !poolWatch.lacksStore,
        writable: poolWatch.isWritable,
      },
      { name: 'state', kind: store, reachable: isReachable, writable: isWritable },
      {
        name: 'usage',
        kind: database.isShared ? 'postgres' : 'sqlite',
        reachable: database.isReachable,
        writable: database.isReachable,
      },
    ],
    ...facts,
  };
}
