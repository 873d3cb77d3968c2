import { isJsonObject, type JsonObject } from '../lib/parse-json.ts';
import type { Conversion, ConvertedCandidate } from './conversion.ts';

/** LiteLLM's names of providers, in front of a model's, and ours. */
const prefixes: Readonly<Record<string, string>> = {
  openai: 'openai',
  anthropic: 'anthropic',
  gemini: 'gemini',
  openrouter: 'openrouter',
  groq: 'groq',
  mistral: 'mistral',
  deepseek: 'deepseek',
  xai: 'xai',
  together_ai: 'together',
  fireworks_ai: 'fireworks',
  ollama: 'ollama',
  ollama_chat: 'ollama',
  lm_studio: 'lmstudio',
  hosted_vllm: 'vllm',
  llamafile: 'llamacpp',
  openai_like: 'openai',
  custom_openai: 'openai',
  litellm_proxy: 'openai',
};
/** Nothing but their address says which server they mean. */
const addressed = new Set(['openai_like', 'custom_openai', 'litellm_proxy']);
const mostTier = 1_000;
const converted = new Set([
  'model',
  'api_base',
  'base_url',
  'api_key',
  'api_version',
  'weight',
  'order',
  'rpm',
  'tpm',
]);
const perMillion = 1_000_000;

export function convertLitellm(config: JsonObject, conversion: Conversion): void {
  const entries = listOf(config['model_list']);
  for (const [index, entry] of entries.entries()) convertModel(entry, index, conversion);
  const settings = sectionOf(config, 'litellm_settings');
  const router = sectionOf(config, 'router_settings');
  convertAliases(router, conversion);
  for (const section of [settings, router]) convertFallbacks(section, conversion);
  const general = sectionOf(config, 'general_settings');
  if (typeof general['master_key'] === 'string') {
    const variable = variableIn(general['master_key']);
    const value = variable === undefined ? 'the key' : `"$${variable}"`;
    conversion.note(`general_settings.master_key: set API_KEYS to ${value} to keep clients' key.`);
  }
  noteOthers('general_settings', general, ['master_key'], conversion);
  noteOthers('litellm_settings', settings, [...fallbackFields, 'drop_params', 'set_verbose'], conversion);
  noteOthers('router_settings', router, [...fallbackFields, 'model_group_alias'], conversion);
  const known = ['model_list', 'litellm_settings', 'router_settings', 'general_settings'];
  for (const name of Object.keys(config).filter((one) => !known.includes(one)))
    conversion.note(`${name}: has no counterpart and was left out.`);
}

function convertModel(entry: JsonObject, index: number, conversion: Conversion): void {
  const { model_name: name, litellm_params: given, model_info: info } = entry;
  const place = `model_list[${index}]`;
  const params = isJsonObject(given) ? given : {};
  const { model: target } = params;
  if (typeof name !== 'string' || typeof target !== 'string') {
    conversion.note(`${place}: has no model_name or no model and was left out.`);
    return;
  }
  const found = providerOf(target, params, conversion);
  if (typeof found === 'string') {
    conversion.note(`${place} (${name}): ${found}`);
    return;
  }
  const { provider, model } = found;
  const key = params['api_key'];
  if (typeof key === 'string') conversion.key(provider, key, `${place} (${name})`, variableIn(key));
  noteOthers(`${place}.litellm_params`, params, converted, conversion);
  convertInfo(`${provider}/${model}`, isJsonObject(info) ? info : {}, params, conversion);
  if (name.startsWith(`${provider}/`)) {
    conversion.note(
      `${place}: ${name} needs no route; a name that begins with "${provider}/" means that provider.`,
    );
    return;
  }
  const { order, weight, rpm, tpm } = params;
  const share = [weight, rpm, tpm].find((one) => typeof one === 'number' && one > 0) as number | undefined;
  conversion.add(name, {
    provider,
    model: model.includes('*') ? '*' : model,
    tier: typeof order === 'number' ? Math.min(Math.max(0, Math.round(order)), mostTier) : 1,
    ...(share !== undefined && { weight: share }),
  });
  if (rpm !== undefined || tpm !== undefined)
    conversion.note(`${place} (${name}): rpm and tpm became its weight; they are no limits here.`);
}

/** The provider and its model; a sentence where there is none. */
function providerOf(target: string, params: JsonObject, conversion: Conversion) {
  const slash = target.indexOf('/');
  const prefix = slash === -1 ? guessOf(target) : target.slice(0, slash);
  const model = target.slice(slash + 1);
  const given = params['api_base'] ?? params['base_url'];
  const base = typeof given === 'string' ? given : undefined;
  if (base !== undefined && variableIn(base) !== undefined)
    return `its api_base is in ${variableIn(base)}: write the address into the file and convert it again.`;
  if (prefix === 'azure') {
    if (base === undefined) return 'azure without api_base was left out.';
    const url = `${base.replace(/\/(openai(\/v1)?)?\/*$/, '')}/openai/v1`;
    const own = conversion.provider('openai_compatible', url, 'azure-openai');
    return own === undefined
      ? 'its api_base is no address of a server; it was left out.'
      : { provider: own, model };
  }
  const provider = Object.hasOwn(prefixes, prefix) ? prefixes[prefix] : undefined;
  if (provider === undefined) return `there is no provider for "${prefix}"; it was left out.`;
  if (base === undefined)
    return addressed.has(prefix) ? `${prefix} without api_base was left out.` : { provider, model };
  const type =
    provider === 'anthropic'
      ? 'anthropic_compatible'
      : provider === 'gemini'
        ? 'gemini'
        : 'openai_compatible';
  // LiteLLM speaks Ollama's own protocol, which is not below /v1.
  const address = provider === 'ollama' ? `${base.replace(/(\/v1|\/api)?\/*$/, '')}/v1` : base;
  const own = conversion.provider(type, address);
  return own === undefined
    ? 'its api_base is no address of a server; it was left out.'
    : { provider: own, model };
}

function guessOf(model: string): string {
  if (/^claude-/.test(model)) return 'anthropic';
  return /^(gpt-|o\d|chatgpt-|codex-|text-embedding-|whisper-|tts-|dall-e-|omni-moderation-)/.test(model)
    ? 'openai'
    : model;
}

function convertInfo(model: string, info: JsonObject, params: JsonObject, conversion: Conversion): void {
  const figure = (name: string) => {
    const value = info[name] ?? params[name];
    return typeof value === 'number' && value >= 0 ? value : undefined;
  };
  const price = {
    input: figure('input_cost_per_token'),
    output: figure('output_cost_per_token'),
    cache_read: figure('cache_read_input_token_cost'),
    cache_write: figure('cache_creation_input_token_cost'),
  };
  const known = Object.entries(price).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, Number((value * perMillion).toPrecision(12))] as const],
  );
  const window = figure('max_input_tokens');
  const most = figure('max_output_tokens');
  const facts = {
    ...(window && { context_window: window }),
    ...(most && { max_output: most }),
    ...(price.input !== undefined && price.output !== undefined && { price: Object.fromEntries(known) }),
  };
  if (Object.keys(facts).length > 0) conversion.models[model] = facts;
}

function convertAliases(router: JsonObject, conversion: Conversion): void {
  const aliases = sectionOf(router, 'model_group_alias');
  for (const [name, given] of Object.entries(aliases)) {
    const target = isJsonObject(given) ? given['model'] : given;
    if (target === name) continue;
    if (typeof target === 'string') conversion.aliases[name] = target;
    else conversion.note(`router_settings.model_group_alias.${name}: names no model and was left out.`);
  }
}

const fallbackFields = [
  'fallbacks',
  'context_window_fallbacks',
  'content_policy_fallbacks',
  'default_fallbacks',
];

/** Fallbacks are further candidates, behind those of the model itself. */
function convertFallbacks(section: JsonObject, conversion: Conversion): void {
  const own = new Map(conversion.routes.map(({ model, candidates }) => [model, candidates]));
  const follow = (name: string, targets: unknown) => {
    for (const target of Array.isArray(targets) ? targets : []) {
      const last = Math.max(0, ...conversion.candidatesOf(name).map(({ tier = 1 }) => tier));
      const further = typeof target === 'string' ? own.get(target) : undefined;
      if (!further || !own.has(name)) {
        conversion.note(
          `The fallback of ${name} to ${JSON.stringify(target)} names a model that was not converted.`,
        );
        continue;
      }
      conversion.add(
        name,
        ...further.map((one): ConvertedCandidate => ({ ...one, tier: last + (one.tier ?? 1) })),
      );
    }
  };
  for (const field of ['fallbacks', 'context_window_fallbacks'])
    for (const one of listOf(section[field]))
      for (const [name, targets] of Object.entries(one)) {
        if (name === '*') for (const model of own.keys()) follow(model, targets);
        else follow(name, targets);
      }
  if (section['default_fallbacks'] !== undefined)
    for (const model of own.keys()) {
      const targets = section['default_fallbacks'];
      follow(model, Array.isArray(targets) ? targets.filter((target) => target !== model) : targets);
    }
  if (section['content_policy_fallbacks'] !== undefined)
    conversion.note('content_policy_fallbacks: an answer that was filtered is not asked for elsewhere.');
}

function noteOthers(
  place: string,
  section: JsonObject,
  known: Iterable<string>,
  conversion: Conversion,
): void {
  const names = new Set(known);
  const others = Object.keys(section).filter((name) => !names.has(name));
  if (others.length > 0) conversion.note(`${place}: ${others.join(', ')} left out.`);
}

/** The variable of `os.environ/NAME`. */
function variableIn(value: string): string | undefined {
  return /^os\.environ\/(\w+)$/.exec(value)?.[1];
}

function sectionOf(config: JsonObject, name: string): JsonObject {
  const section = config[name];
  return isJsonObject(section) ? section : {};
}

function listOf(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}
