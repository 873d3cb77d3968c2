import { AppError } from '../../core/errors.ts';
import type { ProviderModel } from '../../core/provider.ts';
import type { AnyImage, AskedMessage, AskedRequest } from '../../core/turn.ts';
import { justSentIndex } from '../../protocols/shared/read-messages.ts';

export interface EffortChoice {
  readonly model: string;
  /** The model thinks as hard as the request asks. */
  readonly isEffortHeard: boolean;
}

/** What ids spell at their end. `max` is left out: it is as often part of a model's own name. */
const spelledEfforts = ['minimal', 'low', 'medium', 'high', 'xhigh'];
const usualEffort = 'medium';

/**
 * Where each effort is a separate model, the one that the request asks for: `id-effort`, or another of the same base.
 * Where there is none, `id` stays; where `id` is only what the models of a family have in common, its usual one.
 */
export function chooseEffort(
  models: readonly ProviderModel[],
  id: string,
  effort: string | undefined,
): EffortChoice {
  const named = models.find((model) => model.id === id);
  if (effort !== undefined) {
    const wanted = plainWord(effort);
    const isWanted = (model: ProviderModel) => effortIn(model) === wanted;
    const heard =
      (named && isWanted(named) ? named : undefined) ??
      models.find(
        (model) => model.id.startsWith(`${id}-`) && plainWord(model.id.slice(id.length + 1)) === wanted,
      ) ??
      siblingsOf(models, id).find(isWanted);
    if (heard) return { model: heard.id, isEffortHeard: true };
  }
  if (named) return { model: id, isEffortHeard: false };
  const family = siblingsOf(models, id);
  const usual = family.find((model) => effortIn(model) === usualEffort) ?? family[0];
  return { model: usual?.id ?? id, isEffortHeard: false };
}

/** Whether the name is what models of these have in common that differ in their effort only. */
export function isFamily(models: readonly ProviderModel[], id: string, effort: string | undefined): boolean {
  return chooseEffort(models, id, effort).model !== id;
}

/** The efforts that requests for this model may ask for. */
export function effortsOf(models: readonly ProviderModel[], model: ProviderModel): string[] {
  const efforts = siblingsOf(models, model.id).flatMap(
    (sibling) => sibling.effort ?? spelledEffort(sibling.id) ?? [],
  );
  return [...new Set(efforts)];
}

/** Models that differ from this one in their effort only, itself included; by what the list says, and by their ids. */
function siblingsOf(models: readonly ProviderModel[], id: string): ProviderModel[] {
  const baseName = models.find((model) => model.id === id)?.baseName;
  const family = familyOf(id);
  return models.filter(
    (model) =>
      model.id === id ||
      (baseName !== undefined && model.baseName === baseName) ||
      familyOf(model.id) === family,
  );
}

function familyOf(id: string): string {
  const effort = spelledEffort(id);
  return effort === undefined ? id : id.slice(0, -effort.length - 1);
}

function spelledEffort(id: string): string | undefined {
  return spelledEfforts.find((effort) => id.endsWith(`-${effort}`));
}

function effortIn({ id, effort }: ProviderModel): string | undefined {
  return effort === undefined ? spelledEffort(id) : plainWord(effort);
}

/** `X-High` and `xhigh` are one. */
function plainWord(effort: string): string {
  return effort.toLowerCase().replace(/[^a-z0-9]/g, '');
}

/** The model surely sees no images. */
export function isBlindModel(models: readonly ProviderModel[], id: string): boolean {
  return models.find((model) => model.id === id)?.hasVision === false;
}

/** All images of a message, its results' too. */
export function imagesOf(message: AskedMessage): AnyImage[] {
  if (message.role === 'user')
    return message.parts.filter((part) => part.type === 'image' || part.type === 'image-url');
  if (message.role !== 'tool') return [];
  return message.parts.flatMap((part) => part.images ?? []);
}

/** Throws AppError `invalid_request` for an image that the user has just sent to a model that sees none. */
export function checkVision(
  models: readonly ProviderModel[],
  id: string,
  messages: AskedRequest['messages'],
): void {
  const justSent = messages[justSentIndex(messages.map(({ role }) => role))];
  const [image] = justSent ? imagesOf(justSent) : [];
  if (image === undefined) return;
  const seeing = models.filter((model) => model.hasVision === true).slice(0, 3);
  const advice =
    seeing.length === 0
      ? 'leave the images out'
      : `leave them out, or choose another, such as ${seeing.map((model) => `"${model.id}"`).join(' or ')}`;
  throw new AppError('invalid_request', `The model "${id}" takes no images: ${advice}.`, {
    param: image.param ?? 'messages',
  });
}

/** The target of the first alias that fits: an exact name before patterns, patterns in the order they were written. */
export function findAlias(aliases: Readonly<Record<string, string>>, model: string): string | undefined {
  if (Object.hasOwn(aliases, model)) return aliases[model];
  for (const [pattern, target] of Object.entries(aliases)) {
    if (pattern.endsWith('*') && model.startsWith(pattern.slice(0, -1))) return target;
  }
  return undefined;
}

/** The built-in sandbox has a model for each of its scenarios (sandbox/README.md). What follows is how clients see them. */

/** Answers to every name that is no scenario's. */
export const plainSandboxModel = 'sandbox';

/** What `GET /v1/models` shows of them, in this order: the others are for tests. */
const shown: readonly string[] = [
  plainSandboxModel,
  'sandbox-echo',
  'sandbox-reasoning',
  'sandbox-eager',
  'sandbox-obedient',
  'sandbox-slow',
  'sandbox-429',
  'sandbox-error',
];

/** Names of the README's examples, which the plain model answers to. */
export const exampleNames: readonly string[] = ['auto', 'claude-3-5-sonnet-20241022'];

export function shownOf<Model extends { readonly id: string }>(models: readonly Model[]): Model[] {
  return shown.flatMap((id) => models.find((model) => model.id === id) ?? []);
}

/** The name without the sandbox's own prefix. */
export function bareName(name: string): string {
  return name.startsWith('sandbox/') ? name.slice('sandbox/'.length) : name;
}

/** Whether it may be a scenario's, without asking the sandbox. */
export function isSandboxName(name: string): boolean {
  return name === plainSandboxModel || name.startsWith('sandbox-');
}

/** Whether the sandbox surely has it. `sandbox-burst-500` is `sandbox-burst` with another size. */
export function hasScenario(models: readonly { readonly id: string }[], name: string): boolean {
  const id = name.replace(/^(sandbox-(?:burst|paced))-[1-9]\d{0,5}$/, '$1');
  return isSandboxName(id) && models.some((model) => model.id === id);
}

/** Of the configuration file, where `*` makes a pattern of a name. */
export function isPattern(name: string): boolean {
  return name.includes('*');
}

/** Whether `*` of the pattern may stand for parts of the name, none of them too. */
export function matches(pattern: string, name: string): boolean {
  const [head = '', ...others] = pattern.split('*');
  const tail = others.pop();
  if (tail === undefined) return pattern === name;
  if (!name.startsWith(head) || !name.endsWith(tail) || name.length < head.length + tail.length) return false;
  const end = name.length - tail.length;
  let at = head.length;
  for (const part of others) {
    const found = name.indexOf(part, at);
    if (found === -1 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

/** Exact names first, then the pattern that says most. */
export function bySpecificity(one: string, other: string): number {
  const [stars, otherStars] = [starsIn(one), starsIn(other)];
  if (stars === 0 || otherStars === 0) return stars - otherStars;
  return other.length - otherStars - (one.length - stars) || stars - otherStars;
}

function starsIn(name: string): number {
  return name.split('*').length - 1;
}
