import { AppError } from '../core/errors.ts';
import type { ProviderModel } from '../core/provider.ts';
import type { AskedRequest } from '../core/turn.ts';

export interface EffortChoice {
  readonly model: string;
  /** The model thinks as hard as the request asks. */
  readonly isEffortHeard: boolean;
}

/**
 * Where each effort is a model of its own, the one that the request asks for: `id` itself or another of the same base.
 * Where there is none, `id` stays.
 */
export function chooseEffort(
  models: readonly ProviderModel[],
  id: string,
  effort: string | undefined,
): EffortChoice {
  if (effort === undefined) return { model: id, isEffortHeard: false };
  const named = models.find((model) => model.id === id);
  const wanted = plainWord(effort);
  const isWanted = (model: ProviderModel) => model.effort !== undefined && plainWord(model.effort) === wanted;
  if (named && isWanted(named)) return { model: id, isEffortHeard: true };
  const sibling = siblingsOf(models, named).find(isWanted);
  return sibling ? { model: sibling.id, isEffortHeard: true } : { model: id, isEffortHeard: false };
}

/** The efforts that requests for this model may ask for. */
export function effortsOf(models: readonly ProviderModel[], model: ProviderModel): string[] {
  const efforts = siblingsOf(models, model).flatMap(({ effort }) => effort ?? []);
  return [...new Set(efforts)];
}

/** The model itself included. */
function siblingsOf(models: readonly ProviderModel[], named: ProviderModel | undefined): ProviderModel[] {
  if (!named) return [];
  if (named.baseName === undefined) return [named];
  return models.filter((model) => model.baseName === named.baseName);
}

/** `X-High` and `xhigh` are one. */
function plainWord(effort: string): string {
  return effort.toLowerCase().replace(/[^a-z0-9]/g, '');
}

/** Throws AppError `invalid_request` for images that the model surely cannot see. */
export function checkVision(
  models: readonly ProviderModel[],
  id: string,
  messages: AskedRequest['messages'],
): void {
  if (models.find((model) => model.id === id)?.hasVision !== false || !messages.some(hasImage)) return;
  const seeing = models.filter((model) => model.hasVision === true).slice(0, 3);
  const advice =
    seeing.length === 0
      ? 'leave the images out'
      : `leave them out, or choose another, such as ${seeing.map((model) => `"${model.id}"`).join(' or ')}`;
  throw new AppError('invalid_request', `The model "${id}" takes no images: ${advice}.`, {
    param: 'messages',
  });
}

function hasImage(message: AskedRequest['messages'][number]): boolean {
  return message.parts.some(
    (part) =>
      part.type === 'image' ||
      part.type === 'image-url' ||
      (part.type === 'tool-result' && (part.images?.length ?? 0) > 0),
  );
}
