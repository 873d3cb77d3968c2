import { type Ability, type Capabilities, without } from '../../core/capabilities.ts';
import { factsOf, type ModelFacts } from './claude-models.ts';

/**
 * What Anthropic Messages has a field for. Not `stop`, although stop sequences are sent: it refuses those that are blank, so that the
 * gateway looks for them, too.
 */
export const messagesCapabilities: Capabilities = new Set<Ability>([
  'maxTokens',
  'jsonSchema',
  'toolChoice',
  'parallelToolCalls',
  'temperature',
  'topP',
  'topK',
  'reasoningEffort',
  'documents',
  'cacheBreakpoints',
  'strictTools',
]);

const known = new WeakMap<ModelFacts, Capabilities>();

/** What one of the models does of it. */
export function messagesCapabilitiesOf(model: string): Capabilities {
  const facts = factsOf(model);
  let native = known.get(facts);
  if (!native) {
    native = capabilitiesBy(facts);
    known.set(facts, native);
  }
  return native;
}

function capabilitiesBy(facts: ModelFacts): Capabilities {
  const { takesSampling, takesForcedTools, followsSchemas, thinking, efforts } = facts;
  const lacks: Ability[] = [
    ...(takesSampling ? [] : (['temperature', 'topP', 'topK'] as const)),
    ...(takesForcedTools ? [] : (['toolChoice'] as const)),
    ...(followsSchemas ? [] : (['jsonSchema', 'strictTools'] as const)),
    ...(thinking === 'none' && efforts.length === 0 ? (['reasoningEffort'] as const) : []),
  ];
  return without(messagesCapabilities, lacks);
}
