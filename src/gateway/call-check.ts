import type { ToolChoice } from '../core/turn.ts';
import type { AnswerCheck, Fault } from './checked-answer.ts';

/**
 * An answer that has to call a tool: any one, or a certain one and no other. The adapters tell the model so in their own
 * words. Undefined where a call is up to the model.
 */
export function createCallCheck(choice: ToolChoice): AnswerCheck | undefined {
  if (choice.type !== 'required' && choice.type !== 'tool') return undefined;
  const fault = choice.type === 'required' ? noCall : notThatCall(choice.name);
  return {
    instruct: (request) => request,
    async judge({ toolCalls }) {
      const isAsAsked =
        toolCalls.length > 0 &&
        (choice.type === 'required' || toolCalls.every(({ name }) => name === choice.name));
      return isAsAsked ? {} : { fault };
    },
  };
}

const noCall: Fault = {
  mend: 'You called no tool, and this answer has to be a call. Call one of the tools now.',
  error: 'The model did not call a tool, as tool_choice asks, although it was told twice; try again.',
};

function notThatCall(name: string): Fault {
  return {
    mend: `This answer has to be a call of the tool ${JSON.stringify(name)}, and of no other. Call the tool ${JSON.stringify(name)} now.`,
    error: `The model did not call the tool ${JSON.stringify(name)}, as tool_choice asks, although it was told twice; try again.`,
  };
}
