import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { KeyIssuer } from '../../core/provider.ts';
import { createKeyApi, type KeyApiOptions } from '../key-api.ts';

export interface OpenAiKeysSettings extends Pick<KeyApiOptions, 'adminKey' | 'baseUrl'> {
  /** Its budget and rate limits hold for every key. */
  readonly projectId: string;
}

const issued = z.looseObject({ id: z.string().min(1), api_key: z.looseObject({ value: z.string().min(1) }) });
const page = z.looseObject({
  data: z.array(z.looseObject({ id: z.string(), name: z.string().nullish() })),
  has_more: z.boolean().nullish(),
});
const mostPages = 100;

/** OpenAI's API for service accounts of a project, opened by an admin key of the owner's. Each has one key. */
export function createOpenAiKeyIssuer(
  options: OpenAiKeysSettings & Pick<KeyApiOptions, 'http' | 'userAgent'>,
): KeyIssuer {
  const api = createKeyApi(options);
  const path = `/v1/organization/projects/${encodeURIComponent(options.projectId)}/service_accounts`;
  return {
    async issue(name, signal) {
      const made = await api.call('POST', path, issued, { body: { name }, signal });
      if (made === null) {
        throw new AppError(
          'invalid_request',
          `There is no project "${options.projectId}" for this admin key.`,
        );
      }
      return { apiKey: made.api_key.value, handle: made.id };
    },
    async revoke(handle, signal) {
      await api.call('DELETE', `${path}/${encodeURIComponent(handle)}`, z.unknown(), { signal });
    },
    async find(name, signal) {
      let after = '';
      for (let pages = 0; pages < mostPages; pages += 1) {
        const answer = await api.call('GET', `${path}?limit=100${after}`, page, { signal });
        const found = answer?.data.find((account) => account.name === name);
        if (found !== undefined) return found.id;
        const last = answer?.data.at(-1)?.id;
        if (answer?.has_more !== true || last === undefined) return null;
        after = `&after=${encodeURIComponent(last)}`;
      }
      throw new AppError('upstream_protocol', 'The list of service accounts does not end.');
    },
  };
}
