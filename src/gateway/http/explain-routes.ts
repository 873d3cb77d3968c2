import { z } from 'zod';
import { refused } from '../../core/errors.ts';
import { givenFields } from '../../core/null-fields.ts';
import type { Route } from '../../lib/api/api-routes.ts';
import { parseFields } from '../../protocols/shared/request.ts';
import type { StoredKey } from '../keys/key-verbs.ts';
import type { ManagedKeys } from '../keys/managed-keys.ts';
import { TurnRecord } from '../records/turn-record.ts';
import { checkRequest } from '../turn/candidates.ts';
import { type ExplainDependencies, evenDraw, explainTurn } from '../turn/explain.ts';
import { TurnSignal } from '../turn/running-turns.ts';
import * as answers from './api-answers.ts';
import { decodeTurn } from './decode-turn.ts';
import type { HealthSources } from './health.ts';
import { sampleRequest, sampleTraits } from './sample-request.ts';

/** More than a configured route may have candidates, each noted twice. */
const mostNotes = 200;

export const explainRequest = sampleTraits.extend({
  /** The id or name of a client key: as if its client asked. */
  key: z.string().min(1).max(200).optional(),
  /** Only accounts with one of these. */
  labels: z.array(z.string().min(1).max(200)).min(1).max(50).optional(),
});

interface ExplainService {
  readonly explaining: ExplainDependencies;
  readonly managedKeys: Pick<ManagedKeys, 'get' | 'now'>;
  readonly configWatch: HealthSources['configWatch'];
}

export const explainRoutes: readonly Route<ExplainService>[] = [
  {
    method: 'GET',
    path: '/api/models',
    summary:
      'Every model at every provider with accounts: who can serve it, what it costs, where its facts come from',
    access: 'adminKey',
    answers: { 200: { description: 'The models.', body: answers.modelTable } },
    handle: ({ explaining: { routes, limits, pool } }) => routes.table(limits, pool),
  },
  {
    method: 'GET',
    path: '/api/routes',
    summary: 'Routes and aliases of the configuration file, and how the file stands',
    access: 'adminKey',
    answers: { 200: { description: 'What it says of names.', body: answers.configuredNames } },
    handle: ({ explaining: { routes }, configWatch }) => ({
      ...routes.configuredNames(),
      config: configWatch?.standing ?? null,
    }),
  },
  {
    method: 'POST',
    path: '/api/models/explain',
    summary: 'Which account would answer a request, without sending one',
    description:
      'The request is described by its traits, or given whole as "body". The answer has every candidate in the order of trial, why each ' +
      'would be passed over, and how its accounts stand. Nothing is sent and no account is borrowed. Where several candidates share ' +
      'turns by weight, "share" says how often each is the first.',
    access: 'adminKey',
    body: explainRequest,
    answers: { 200: { description: 'What would become of it.', body: answers.explainedTurn } },
    async handle({ explaining, managedKeys }, { body, id }) {
      const { labels, key, ...traits } = parseFields(explainRequest, givenFields(body));
      const sample = sampleRequest(traits);
      const { inbound } = sample;
      const managed = key === undefined ? undefined : await managedKeys.get(key);
      const client = managed ? { id: managed.clientId, managed } : { id: '' };
      const text = JSON.stringify(sample.body);
      const asked = { body: sample.body, heldBody: { text }, client, headers: {} };
      const { decoded, plan } = await decodeTurn(explaining.routes, inbound, asked, evenDraw);
      if (decoded.request.model !== traits.model)
        throw refused('model', 'is not what the body of a request can name');
      const record = new TurnRecord(
        {
          requestId: id,
          client,
          dialect: inbound.name,
          model: traits.model,
          isStream: decoded.isStream,
        },
        explaining.clock,
        undefined,
        mostNotes,
      );
      const turn = {
        protocol: inbound.name,
        decoded,
        bytes: Buffer.byteLength(text),
        client,
        affinityKey: undefined,
        requestId: id,
        wantsUsage: false,
        images: checkRequest(decoded.request, explaining.imageFetcher),
        plan,
        record,
        signal: new TurnSignal(),
      };
      const explained = await explainTurn(explaining, turn, labels);
      const notes = managed ? keyNotes(managed, managedKeys.now()) : [];
      return { ...explained, notes: [...notes, ...explained.notes] };
    },
  },
];

function keyNotes({ name, revokedAt, isEnabled, expiresAt }: StoredKey, now: number): string[] {
  const isGood = revokedAt === null && isEnabled && (expiresAt === null || expiresAt > now);
  return isGood ? [] : [`The key "${name}" is revoked, disabled or expired: its requests are refused.`];
}
