import type { AnswerIdentity } from '../../core/protocol.ts';
import { customInput } from '../custom-tool.ts';
import type { OfferedTools } from './offered-tools.ts';
import { itemId, type OutputItem } from './response.ts';

/** A call as an item, under the name and in the form the client offered the tool. */
export function callItem(
  identity: AnswerIdentity,
  index: number,
  call: { readonly id: string; readonly name: string; readonly arguments: string },
  tools: OfferedTools,
  status: OutputItem['status'],
): OutputItem {
  const form = tools.forms.get(call.name);
  const name = form?.name ?? call.name;
  if (form?.kind === 'custom') {
    const input = status === 'in_progress' ? '' : customInput(call.arguments);
    const id = itemId('ctc', identity, index);
    return { id, type: 'custom_tool_call', status, call_id: call.id, name, input };
  }
  return {
    id: itemId('fc', identity, index),
    type: 'function_call',
    status,
    call_id: call.id,
    name,
    ...(form?.namespace === undefined ? {} : { namespace: form.namespace }),
    arguments: call.arguments,
  };
}
