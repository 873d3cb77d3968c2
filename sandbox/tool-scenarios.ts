// Calls of tools that the client did not offer.
import { type PlayableScenario, scenario } from './scenario.ts';
import { rawField } from './schema.ts';
import { actions, add, calls, complete, type Script } from './script.ts';

/** Calls of the server's own tools, by their fields of ToolCall: each has its own message type, opaque to a client. */
function builtin(...fields: number[]): Script {
  return complete(function* (turn) {
    for (const field of fields) {
      const toolCall = {
        toolCallId: `builtin-${field}-${turn.requestId}`,
        $unknowns: [rawField(field, rawField(1, 'ls'))],
      };
      yield actions(add(turn, turn.message({ toolCall })));
    }
  });
}

const aCall = 'a call of a tool the client does not know';

export const toolScenarios: readonly PlayableScenario[] = [
  scenario('undeclared-tool', 'a call of the built-in shell tool, then done', aCall, builtin(2)),
  scenario(
    'builtin-tools',
    'calls of five built-in tools, older and newer ones, then done',
    'five calls of tools the client does not know',
    builtin(2, 5, 9, 22, 36),
  ),
  scenario(
    'undeclared-mcp-tool',
    'a call of an MCP tool that was not offered, then done',
    aCall,
    complete((turn) => calls(turn, [{ name: 'not_offered', args: { path: '/tmp' } }])),
  ),
];
