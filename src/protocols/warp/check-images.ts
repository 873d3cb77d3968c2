import { AppError } from '../../core/errors.ts';
import type { ImagePart } from '../../core/turn.ts';

/** What the model's vendors take; the official client makes larger images smaller before it sends them. */
const maxImageBytes = 3_750_000;

/** Throws AppError `invalid_request` for `messages` when the upstream could not show one of these to the model. */
export function checkImages(images: readonly ImagePart[]): void {
  for (const { mediaType, data } of images) {
    if (!/^image\//i.test(mediaType)) {
      throw refusal(`The upstream takes images only, and one is said to be ${JSON.stringify(mediaType)}.`);
    }
    const bytes = Math.floor((data.length * 3) / 4);
    if (bytes > maxImageBytes) {
      const size = (bytes / 1_000_000).toFixed(1);
      throw refusal(`The upstream takes images of up to 3.75 MB, and one has ${size}: make it smaller.`);
    }
  }
}

function refusal(message: string): AppError {
  return new AppError('invalid_request', message, { param: 'messages' });
}
