import type { Tool, TurnRequest } from './turn.ts';

/** The tools a model gets to see: where it must call a certain one, no other can lead it astray. */
export function toolsToOffer({
  tools,
  toolChoice,
}: Pick<TurnRequest, 'tools' | 'toolChoice'>): readonly Tool[] {
  switch (toolChoice.type) {
    case 'none':
      return [];
    case 'tool':
      return tools.filter(({ name }) => name === toolChoice.name);
    default:
      return tools;
  }
}

/** What tools are known by: their names, descriptions and parameters. */
export function plainTools({ tools }: Pick<TurnRequest, 'tools'>): readonly Tool[] {
  return tools.map(({ name, description, parameters }) => ({
    name,
    ...(description === undefined ? {} : { description }),
    parameters,
  }));
}

/** The same as text to be counted. */
export function toolsText(request: Pick<TurnRequest, 'tools'>): string {
  return request.tools.length === 0 ? '' : JSON.stringify(plainTools(request));
}
