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

/** The tools as text to be counted or compared: their names, descriptions and parameters. */
export function toolsText({ tools }: Pick<TurnRequest, 'tools'>): string {
  if (tools.length === 0) return '';
  return JSON.stringify(
    tools.map(({ name, description, parameters }) => ({ name, description, parameters })),
  );
}
