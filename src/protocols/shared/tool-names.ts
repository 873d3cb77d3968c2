import type { Message, TurnRequest } from '../../core/turn.ts';

/** A request whose tools have names as the upstream takes them, and the tools' own by those. */
export interface FittedRequest {
  readonly request: TurnRequest;
  readonly toolNames: ReadonlyMap<string, string>;
}

/** `longest`: characters of a name. `spell`: a name in the characters that the upstream takes. */
export function withFittingNames(
  request: TurnRequest,
  longest: number,
  spell: (name: string) => string,
): FittedRequest {
  const toolNames = new Map<string, string>();
  const sent = new Map<string, string>();
  let isOther = false;
  const sentFor = (name: string): string => {
    const known = sent.get(name);
    if (known !== undefined) return known;
    const fitting = spell(name);
    let free = fitting.slice(0, longest);
    for (let more = '_'; toolNames.has(free); more += '_') {
      free = fitting.slice(0, longest - more.length) + more;
    }
    toolNames.set(free, name);
    sent.set(name, free);
    if (free !== name) isOther = true;
    return free;
  };
  const renamed = <Named extends { readonly name: string }>(one: Named): Named => ({
    ...one,
    name: sentFor(one.name),
  });
  const { messages, tools, toolChoice } = request;
  for (const { parts } of messages)
    for (const part of parts) if (part.type === 'tool-call') sentFor(part.name);
  for (const { name } of tools) sentFor(name);
  if (!isOther) return { request, toolNames };
  const fitted = {
    ...request,
    messages: messages.map(
      (message): Message =>
        message.role === 'assistant'
          ? {
              ...message,
              parts: message.parts.map((part) => (part.type === 'tool-call' ? renamed(part) : part)),
            }
          : message,
    ),
    tools: tools.map(renamed),
    toolChoice: toolChoice.type === 'tool' ? renamed(toolChoice) : toolChoice,
  };
  return { request: fitted, toolNames };
}

/** As OpenAI takes them, and most servers that speak its dialects. */
export function withOpenaiNames(request: TurnRequest): FittedRequest {
  return withFittingNames(request, 64, (name) => name.replace(/[^A-Za-z0-9_-]/g, '_'));
}
