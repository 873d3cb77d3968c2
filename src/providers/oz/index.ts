import { count, secret, setting } from '../../lib/setting.ts';
import { defineProvider } from '../definition.ts';
import { warpServer } from '../warp/index.ts';

/** Warp's accounts over the API that Warp documents. */
export const oz = defineProvider({
  name: 'oz',
  answersTurns: true,
  settings: {
    ...warpServer,
    OZ_ENVIRONMENT_ID: setting({
      schema: secret,
      help: 'The cloud environment at Warp that runs of Oz accounts work in. Unset: the plain one.',
    }),
    OZ_RUN_TIMEOUT_SECONDS: setting({
      default: '1800',
      schema: count(10, 86_400),
      help: 'How long a run of an Oz account may take before it is cancelled.',
    }),
  },
  async load(context, values) {
    const { createOzProvider } = await import('./provider.ts');
    return createOzProvider(context, values);
  },
});
