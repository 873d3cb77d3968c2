import { AppError } from '../../core/errors.ts';
import type { ImageLimits } from '../../core/protocol.ts';
import type { ImagePart, TurnRequest } from '../../core/turn.ts';
import { wholeQuery } from '../../protocols/shared/fold-history.ts';
import type { RunBody } from './calls.ts';

/** The model name that stands for the team's own default. */
export const defaultModel = 'auto';

/** The vendor takes at most this many attachments with one prompt. */
export const imageLimits: ImageLimits = { maxCount: 5 };

/**
 * One turn as one run, the whole conversation in its prompt. Throws AppError `invalid_request` naming what a run cannot
 * carry.
 */
export function runBodyOf(
  request: TurnRequest,
  options: { readonly name: string; readonly environmentId: string | undefined },
): RunBody {
  if (request.tools.length > 0 && request.toolChoice.type !== 'none') {
    throw new AppError(
      'invalid_request',
      'A run at Oz cannot call tools of the client: leave tools out, or use a model of a Warp account (warp/...).',
      { param: 'tools' },
    );
  }
  const { query, images } = wholeQuery(request);
  const system = request.messages
    .flatMap((message) => (message.role === 'system' ? message.parts.map((part) => part.text) : []))
    .filter((text) => text.trim() !== '')
    .join('\n\n');
  return {
    prompt: query,
    config: {
      // By this name the run is found again, should the answer that tells its id be lost.
      name: options.name,
      ...(request.model === defaultModel ? {} : { model_id: request.model }),
      ...(system === '' ? {} : { base_prompt: system }),
      ...(options.environmentId === undefined ? {} : { environment_id: options.environmentId }),
      // Nobody comes back to the run, and the time its machine waits costs as well.
      idle_timeout_minutes: 1,
    },
    ...(images.length === 0 ? {} : { attachments: images.map(attachmentOf) }),
  };
}

function attachmentOf({ mediaType, data }: ImagePart, index: number) {
  return { file_name: `image-${index + 1}.${mediaType.slice('image/'.length)}`, mime_type: mediaType, data };
}
