import { isJsonObject, type JsonObject } from '../lib/parse-json.ts';
import type { Conversion, ConvertedCandidate } from './conversion.ts';

const longContext = 60_000;

/** Reads a `config.json` of claude-code-router: where Claude Code's requests go. */
export function convertClaudeCodeRouter(config: JsonObject, conversion: Conversion): void {
  const names = new Map<string, string>();
  const { Providers, providers = Providers, Router } = config;
  for (const [index, one] of (Array.isArray(providers) ? providers : []).filter(isJsonObject).entries()) {
    const provider = convertProvider(one, `Providers[${index}]`, conversion);
    if (provider !== undefined) names.set(String(one['name']), provider);
  }
  convertRouter(isJsonObject(Router) ? Router : {}, names, conversion);
  if (typeof config['APIKEY'] === 'string' && config['APIKEY'] !== '')
    conversion.note("APIKEY: set API_KEYS to it to keep clients' key.");
  if (typeof config['PROXY_URL'] === 'string') conversion.note('PROXY_URL: set HTTPS_PROXY to it.');
  const known = ['Providers', 'providers', 'Router', 'APIKEY', 'PROXY_URL', 'LOG', 'LOG_LEVEL'];
  const others = Object.keys(config).filter((name) => !known.includes(name));
  if (others.length > 0) conversion.note(`${others.join(', ')}: left out.`);
}

function convertProvider(one: JsonObject, place: string, conversion: Conversion): string | undefined {
  const { name, api_base_url: url, api_key: key, transformer } = one;
  if (typeof name !== 'string' || typeof url !== 'string') {
    conversion.note(`${place}: has no name or no api_base_url and was left out.`);
    return undefined;
  }
  const type = /\/v1\/messages\/*$/.test(url)
    ? 'anthropic_compatible'
    : url.includes('generativelanguage.googleapis.com') && !url.includes('/openai')
      ? 'gemini'
      : 'openai_compatible';
  const provider = conversion.provider(type, url, name);
  if (provider === undefined) {
    conversion.note(`${place} (${name}): its api_base_url is no address; it was left out.`);
    return undefined;
  }
  if (typeof key === 'string' && key !== '')
    conversion.key(provider, key, `${place} (${name})`, /^\$\{?(\w+)\}?$/.exec(key)?.[1]);
  if (isJsonObject(transformer) && Object.keys(transformer).length > 0)
    conversion.note(
      `${place} (${name}): transformers are not needed; what they add to requests is left out.`,
    );
  return provider;
}

function convertRouter(router: JsonObject, names: ReadonlyMap<string, string>, conversion: Conversion): void {
  const candidateOf = (role: string): ConvertedCandidate | undefined => {
    const target = router[role];
    if (typeof target !== 'string' || target === '') return undefined;
    const comma = target.indexOf(',');
    const provider = names.get(target.slice(0, comma).trim());
    if (comma === -1 || provider === undefined) {
      conversion.note(`Router.${role}: "${target}" names no provider of the file and was left out.`);
      return undefined;
    }
    return { provider, model: target.slice(comma + 1).trim() };
  };
  const usual = candidateOf('default');
  const long = candidateOf('longContext');
  const image = candidateOf('image');
  const background = candidateOf('background');
  const threshold = Number(router['longContextThreshold'] ?? longContext);
  const candidates = [
    ...(image ? [{ ...image, when: { images: true } }] : []),
    ...(usual ? [long ? { ...usual, when: { max_context: threshold } } : usual] : []),
    ...(long ? [long] : []),
  ];
  if (background) conversion.add('claude-*haiku*', background, ...candidates);
  if (candidates.length > 0) conversion.add('claude-*', ...candidates);
  for (const role of ['think', 'webSearch'])
    if (router[role] !== undefined && router[role] !== '')
      conversion.note(`Router.${role}: requests are not told apart by that; they go where others do.`);
  const known = [
    'default',
    'longContext',
    'longContextThreshold',
    'image',
    'background',
    'think',
    'webSearch',
  ];
  const others = Object.keys(router).filter((name) => !known.includes(name));
  if (others.length > 0) conversion.note(`Router: ${others.join(', ')} left out.`);
  conversion.note('A client that asks for "provider,model" has to ask for "provider/model".');
}
