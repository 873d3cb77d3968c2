import type { TurnContent } from '../../core/shown-turn.ts';
import type { AskedMessage } from '../../core/turn.ts';
import { BoundedPattern } from '../../lib/bounded-pattern.ts';
import type { Logger } from '../../lib/log/logger.ts';
import type { KnownSecrets } from '../../lib/secrets/known-secrets.ts';
import { beginningOf } from '../../lib/shown-text.ts';
import type { ClientKey } from '../keys/client-key.ts';
import type { ClientTurn } from './client-turns.ts';
import type { TurnResult } from './run-turn.ts';

export interface ContentSettings {
  /** All client keys, or those with these names. */
  readonly of: 'all' | readonly string[];
  /** Of the prompt and of the answer, each. */
  readonly mostCharacters: number;
  readonly hidesEmails: boolean;
  /** A regular expression of what else is removed. */
  readonly hides: string | undefined;
}

type LoggedMessage = TurnContent['input'][number];
type LoggedPart = LoggedMessage['parts'][number];

const removed = '[redacted]';
/** So much is looked at behind a cut: a secret that is cut through would not be recognised. */
const longestSecret = 4_096;
/**
 * What looks like a key of any service. Texts are the clients' own, of any length: each pattern takes a time in proportion to
 * them, so none may read the same run of letters or spaces again from each of its places.
 */
const keys = [
  /\b(?:sk|pk|rk|wk|w2a|xai|gsk|ghp|gho|ghs|ghu|ghr|glpat|hf|npm|xox[abprs])[-_][A-Za-z0-9_-]{12,}/g,
  /\bwk-\d{1,3}\.[\w-]{12,}/g,
  /\bya29\.[\w-]{12,}/g,
  /\bgithub_pat_\w{20,}/g,
  /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/g,
  /\bAIza[\w-]{30,}/g,
  /\beyJ[\w-]{8,500}\.[\w-]{8,}\.[\w-]*/g,
  /(?<=\b(?:bearer|basic)\s{1,8})[A-Za-z0-9._~+/=-]{12,}/gi,
  /-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|$)/g,
];
/** What a body that is not understood may hold of a file. */
const base64 = /[A-Za-z0-9+/_-]{400,}={0,2}/g;
const mostOfBody = 1_000_000;
const emails = /(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+/g;

/** The prompts and answers of the clients whose operator wants them logged: cut, and without what looks secret. */
export class LoggedContent {
  readonly #settings: ContentSettings;
  readonly #patterns: readonly RegExp[];
  readonly #secrets: KnownSecrets;
  readonly #logger: Logger;
  readonly #hides: BoundedPattern | undefined;
  /** It took too long with a text: nothing is kept any more, since any other text may hold the whole service up as well. */
  #hidesAll = false;

  constructor(settings: ContentSettings, secrets: KnownSecrets, logger: Logger) {
    this.#settings = settings;
    this.#patterns = settings.hidesEmails ? [...keys, emails] : keys;
    this.#hides = settings.hides === undefined ? undefined : new BoundedPattern(settings.hides, removed);
    this.#secrets = secrets;
    this.#logger = logger;
  }

  isOf({ managed }: ClientKey): boolean {
    const { of } = this.#settings;
    return of === 'all' || (managed !== undefined && of.includes(managed.name));
  }

  /** How much of an answer that is passed on as it comes is worth keeping. */
  get mostCharacters(): number {
    return this.#settings.mostCharacters;
  }

  /** Into the log and the turn's record. */
  note({ decoded, requestId, record }: ClientTurn, { attempt }: TurnResult): void {
    const content: TurnContent = {
      ...this.#latest(messagesOf(decoded)),
      output: attempt ? this.#latest([answerOf(attempt)]).input : [],
    };
    record.addContent(content);
    this.#logger.info({ request_id: requestId, ...content }, 'the content of a turn');
  }

  /** The last messages that there is room for. */
  #latest(messages: readonly LoggedMessage[]): Pick<TurnContent, 'input' | 'omitted_messages'> {
    let left = this.#settings.mostCharacters;
    const kept: LoggedMessage[] = [];
    for (const { role, parts } of messages.toReversed()) {
      if (left <= 0) break;
      const shown = parts.map((part) => {
        const whole = left > 0 ? this.#redacted(part.content.slice(0, left + longestSecret)) : '';
        const content = beginningOf(whole, left);
        // What is cut ends the room, wherever it was cut.
        left = content === whole ? left - content.length : 0;
        return { ...part, content };
      });
      kept.unshift({ role, parts: shown });
    }
    return { input: kept, omitted_messages: messages.length - kept.length };
  }

  #redacted(text: string): string {
    if (this.#hidesAll) return removed;
    const known = this.#secrets.redact(text);
    const clean = this.#patterns.reduce((shown, pattern) => shown.replace(pattern, removed), known);
    const shown = this.#hides ? this.#hides.replace(clean) : clean;
    if (shown !== undefined) return shown;
    this.#hidesAll = true;
    this.#logger.error(
      { length: text.length },
      'LOG_CONTENT_REDACT took too long with a text and is given up: no content is logged until a start with a pattern that does not repeat what it repeats',
    );
    return removed;
  }
}

function messagesOf(decoded: ClientTurn['decoded']): readonly LoggedMessage[] {
  const { relayed } = decoded;
  if (!relayed) return decoded.request.messages.map(loggedMessage);
  try {
    return (decoded.translated?.() ?? decoded).request.messages.map(loggedMessage);
  } catch {
    // What the upstream understands may be new here.
    const content = relayed.body
      .slice(0, mostOfBody)
      .replace(base64, (run) => `${run.length} characters of base64`);
    return [{ role: 'user', parts: [{ type: 'text', content }] }];
  }
}

function answerOf({ answer }: NonNullable<TurnResult['attempt']>): LoggedMessage {
  const texts: readonly (readonly [LoggedPart['type'], string])[] = [
    ['reasoning', answer.reasoning],
    ['text', answer.text],
    ['refusal', answer.refusal],
    ['relayed', answer.relayedStart],
  ];
  const parts = texts.filter(([, text]) => text !== '').map(([type, content]) => ({ type, content }));
  const calls = answer.toolCalls.map((call) => loggedPart({ ...call, type: 'tool-call' }));
  return { role: 'assistant', parts: [...parts, ...calls] };
}

function loggedMessage({ role, parts }: AskedMessage): LoggedMessage {
  return { role, parts: parts.map(loggedPart) };
}

function loggedPart(part: AskedMessage['parts'][number]): LoggedPart {
  switch (part.type) {
    case 'text':
    case 'refusal':
    case 'reasoning':
      return { type: part.type, content: part.text };
    case 'tool-call':
      return { type: 'tool_call', name: part.name, content: part.arguments };
    case 'tool-result':
      return { type: 'tool_call_response', content: part.text };
    case 'image-url':
      // Its path or query may be what opens it.
      return { type: 'file', content: `image at ${URL.parse(part.url)?.host ?? 'no address'}` };
    default:
      return { type: 'file', content: `${part.mediaType}, ${part.data.length} characters of base64` };
  }
}
