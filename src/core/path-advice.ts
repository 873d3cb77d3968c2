/** Advice for a client that asked for an unknown path, mostly because of a wrong base URL. */
export interface PathAdvice {
  /** The dialect whose error format the client understands; undefined: the service's own. */
  readonly dialect: 'openai' | 'anthropic' | 'gemini' | undefined;
  readonly advice: string;
}

/** The addresses of the two services, without a path; undefined where unknown. */
export interface ServicePlaces {
  readonly gateway: string | undefined;
  readonly pool: string | undefined;
}

const unserved = new Set(
  (
    'completions complete embeddings images audio files uploads batches moderations fine_tuning assistants threads ' +
    'vector_stores realtime rerank organizations conversations evals videos containers'
  ).split(' '),
);
/** What is served of those. */
const relayed =
  /(^|\/)(completions|embeddings|moderations|rerank|images\/generations|audio\/(speech|transcriptions))$/;
const poolCalls = new Set(['accounts', 'logins', 'events', 'audit']);
const ollamaCalls = new Set(['chat', 'generate', 'tags', 'show', 'ps', 'embed', 'version', 'pull']);

const geminiVersion = /^v1(beta|alpha)$/;
const version = /^v1(beta|alpha)?$/;

const served =
  'It serves POST /v1/chat/completions, POST /v1/responses, POST /v1/messages, POST /v1beta/models/MODEL:generateContent and GET /v1/models; /docs has them all.';

/** `here` answers the request; `path` is without its query. */
export function adviseOnPath(path: string, here: 'gateway' | 'pool', places: ServicePlaces): PathAdvice {
  const words = path
    .toLowerCase()
    .split('/')
    .filter((word) => word !== '');
  const gateway = places.gateway ?? 'the address of the gateway (PORT)';
  const isPoolCall = words.some((word, at) => word === 'api' && poolCalls.has(words[at + 1] ?? ''));
  if (isPoolCall) return { dialect: undefined, advice: poolAdvice(here, places) };

  const call = calledAt(words);
  const dialect = dialectAt(words, call);
  // Some clients of these dialects add the version themselves, and others want it in the base URL.
  const addsVersion = words.some((word) => version.test(word));
  const ending = dialect === 'gemini' ? '/v1beta' : '/v1';
  const isPlain = dialect !== 'openai' && call !== 'unserved' && addsVersion;
  const base = isPlain ? gateway : `${gateway}${ending}`;
  const setBase = `set the base URL of the client to ${base}`;
  const isForeign = here === 'pool';
  const whose = isForeign ? 'This is the account pool, and the gateway answers clients: ' : '';
  const isUnserved = call === 'unserved' || (dialect === 'gemini' && geminiVersion.test(words[0] ?? ''));
  if (isUnserved && !isForeign) return { dialect, advice: `The gateway has no such call. ${served}` };
  if (call !== undefined) return { dialect, advice: sentence(`${whose}${setBase}.`) };

  if (words[0] === 'api' && ollamaCalls.has(words[1] ?? '')) {
    const advice = `${whose}Ollama's own API is not served: choose an OpenAI-compatible provider in the client and ${setBase}.`;
    return { dialect: 'openai', advice };
  }
  if (dialect === 'gemini') {
    const why = addsVersion ? '; it adds the version itself' : '';
    return {
      dialect,
      advice: sentence(`${whose}${setBase}${why}. ${isForeign ? '' : served}`.trimEnd()),
    };
  }
  if (isForeign && words[0] !== 'v1') {
    return {
      dialect: undefined,
      advice: `This is the account pool: its calls are below /api, and /docs has them all. Clients of the gateway use ${gateway}/v1.`,
    };
  }
  if (isForeign) return { dialect, advice: sentence(`${whose}${setBase}.`) };
  return {
    dialect: undefined,
    advice: `The base URL for OpenAI clients is ${gateway}/v1, for Anthropic and Gemini clients ${gateway}. ${served}`,
  };
}

type Call = 'chat' | 'relayed' | 'responses' | 'models' | 'messages' | 'unserved' | undefined;

/** Clients of Gemini ask for a version of their own, or for a method of a model. */
function dialectAt(words: readonly string[], call: Call): NonNullable<PathAdvice['dialect']> {
  if (words.includes('anthropic') || call === 'messages') return 'anthropic';
  const isGemini = words.some((word) => geminiVersion.test(word) || word.includes('generatecontent'));
  return isGemini && (call === undefined || call === 'unserved') ? 'gemini' : 'openai';
}

/** The call that the client meant, anywhere in the path. */
function calledAt(words: readonly string[]): Call {
  if (words.some((word, at) => word === 'chat' && words[at + 1] === 'completions')) return 'chat';
  if (relayed.test(words.join('/'))) return 'relayed';
  if (words.some((word) => unserved.has(word))) return 'unserved';
  if (words.includes('messages')) return 'messages';
  if (words.includes('responses')) return 'responses';
  // The Gemini API has its calls below its models.
  const isList =
    words.includes('models') && !words.some((word) => word.includes(':') || geminiVersion.test(word));
  return isList ? 'models' : undefined;
}

function poolAdvice(here: 'gateway' | 'pool', { pool }: ServicePlaces): string {
  if (here === 'pool')
    return `Set POOL_SERVICE_URL to ${pool ?? "the pool's address"}; /docs has the pool's calls.`;
  return pool === undefined
    ? 'This is the gateway; the account pool runs inside it and has no address (USE_POOL_SERVICE).'
    : `This is the gateway; the account pool usually answers at ${pool}: use that address (POOL_SERVICE_URL).`;
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
