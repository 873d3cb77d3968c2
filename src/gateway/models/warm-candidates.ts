import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';

const mostConversations = 10_000;
/** For so long after its last answer a conversation goes where that came from: there its prompt is cached. */
const warmMs = 5 * 60_000;

interface Answered {
  readonly by: string;
  readonly at: number;
}

/** Which candidate of a route answered a conversation last. */
export class WarmCandidates {
  readonly #now: () => number;
  readonly #answered = new LRUCache<string, Answered>({ max: mostConversations });

  constructor(now: () => number) {
    this.#now = now;
  }

  find(conversation: string): string | undefined {
    const last = this.#answered.get(conversation);
    return last && this.#now() - last.at < warmMs ? last.by : undefined;
  }

  note(conversation: string, candidate: string): void {
    this.#answered.set(conversation, { by: candidate, at: this.#now() });
  }
}

export function conversationKey(...parts: readonly string[]): string {
  return hash('sha256', JSON.stringify(parts), 'base64url');
}
