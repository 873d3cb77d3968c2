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
