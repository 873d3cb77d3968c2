/** Names of tools as an upstream takes them that has less room for them, and the tools' own by those. */
export class ToolNames {
  readonly own = new Map<string, string>();
  readonly #sent = new Map<string, string>();
  readonly #fit: (name: string) => string;
  readonly #longest: number;

  /** `fit`: a name in the characters that the upstream takes. */
  constructor(longest: number, fit: (name: string) => string) {
    this.#longest = longest;
    this.#fit = fit;
  }

  sentFor(name: string): string {
    const known = this.#sent.get(name);
    if (known !== undefined) return known;
    const fitting = this.#fit(name);
    let sent = fitting.slice(0, this.#longest);
    for (let more = '_'; this.own.has(sent); more += '_') {
      sent = fitting.slice(0, this.#longest - more.length) + more;
    }
    this.own.set(sent, name);
    this.#sent.set(name, sent);
    return sent;
  }
}

/** As OpenAI takes them, and most servers that speak its dialects. */
export function openaiToolNames(): ToolNames {
  return new ToolNames(64, (name) => name.replace(/[^A-Za-z0-9_-]/g, '_'));
}
