import type { Ability, Capabilities } from '../../core/capabilities.ts';
import type { Reasoning } from '../../core/turn.ts';
import { askedBudget, askedEffort } from '../shared/reasoning.ts';

// What differs between models follows from their names: the list of models does not say it.

/** 2.5 of `gemini-2.5-pro`; without a version, as in `gemini-flash-latest`, it is the newest; 0: another family. */
export function generationOf(model: string): number {
  const [, version] = /^gemini-(\d+(?:\.\d+)?)?/.exec(model) ?? [];
  if (version !== undefined) return Number(version);
  return model.startsWith('gemini-') ? Number.POSITIVE_INFINITY : 0;
}

/** What thinking models put out at most, thoughts included. */
export const mostOutputTokens = 65_536;

const levels = ['MINIMAL', 'LOW', 'MEDIUM', 'HIGH'] as const;
type Level = (typeof levels)[number];

type Thinking =
  | { readonly by: 'level'; readonly levels: readonly Level[] }
  | { readonly by: 'budget'; readonly least: number; readonly most: number; readonly canBeOff: boolean };

/** The setting for how hard a model thinks; undefined for one that has none, and refuses it. Source: the Gemini API's guide to thinking. */
export function thinkingOf(model: string): Thinking | undefined {
  const generation = generationOf(model);
  if (generation < 2.5 || /image|tts|audio|live|embedding/.test(model)) return undefined;
  if (generation >= 3) return { by: 'level', levels: levelsOf(model, generation) };
  if (model.includes('flash-lite')) return { by: 'budget', least: 512, most: 24_576, canBeOff: true };
  if (model.includes('flash')) return { by: 'budget', least: 1, most: 24_576, canBeOff: true };
  return { by: 'budget', least: 128, most: 32_768, canBeOff: false };
}

function levelsOf(model: string, generation: number): readonly Level[] {
  if (model.includes('flash') && generation < 3.7) return levels;
  return /^gemini-3-pro/.test(model) ? ['LOW', 'HIGH'] : ['LOW', 'MEDIUM', 'HIGH'];
}

const levelOfEffort: Readonly<Record<string, Level>> = {
  none: 'MINIMAL',
  minimal: 'MINIMAL',
  low: 'LOW',
  medium: 'MEDIUM',
  high: 'HIGH',
  xhigh: 'HIGH',
  max: 'HIGH',
};

/** `thinkingConfig` for what the client asked for, as near as the model has it. Thoughts are shown unless the client wants none. */
export function encodeThinking(model: string, reasoning: Reasoning): object | undefined {
  const thinking = thinkingOf(model);
  if (!thinking) return undefined;
  const effort = askedEffort(reasoning);
  const includeThoughts = effort !== 'none';
  if (thinking.by === 'level') {
    const wanted = effort === undefined ? undefined : levelOfEffort[effort];
    const thinkingLevel = wanted && atLeast(wanted, thinking.levels);
    return { includeThoughts, thinkingLevel };
  }
  const asked = askedBudget(reasoning);
  if (asked === undefined || asked < 0) return { includeThoughts };
  const { least, most, canBeOff } = thinking;
  const isOff = asked === 0 && canBeOff;
  return { includeThoughts, thinkingBudget: isOff ? 0 : Math.min(most, Math.max(least, asked)) };
}

function atLeast(wanted: Level, offered: readonly Level[]): Level | undefined {
  return offered.find((level) => levels.indexOf(level) >= levels.indexOf(wanted)) ?? offered.at(-1);
}

const common = [
  'toolChoice',
  'temperature',
  'topP',
  'topK',
  'seed',
  'documents',
] as const satisfies readonly Ability[];

/**
 * What a Gemini model does natively. Never `stop`: it does not say which sequence it stopped at, and looks for them in its thoughts
 * as well. Nor `parallelToolCalls` or penalties: nothing turns parallel calls off, and models since 2.5 refuse a penalty. A relayed
 * request keeps all of them.
 *
 * A limit counts the thoughts of a model that thinks, so that a small one leaves no answer: there the gateway counts what is visible.
 * Before Gemini 3 a request with tools may not ask for JSON.
 */
export function geminiCapabilities(model: string): Capabilities {
  return new Set<Ability>([
    ...common,
    ...(thinkingOf(model) ? (['reasoningEffort'] as const) : (['maxTokens'] as const)),
    ...(generationOf(model) >= 3 ? (['jsonObject', 'jsonSchema'] as const) : []),
  ]);
}
