import type { AnswerIdentity } from '../../core/protocol.ts';
import { customInput } from '../custom-tool.ts';
import { clientTools, isClientToolKind, isFields } from './client-tools.ts';
import type { OfferedTools } from './offered-tools.ts';
import { type ItemStatus, itemId, type OutputItem } from './response.ts';

/** A call as an item, under the name and in the form the client offered the tool. */
export function callItem(
  identity: AnswerIdentity,
  index: number,
  call: { readonly id: string; readonly name: string; readonly arguments: string },
  tools: OfferedTools,
  status: ItemStatus,
): OutputItem {
  const form = tools.forms.get(call.name);
  const name = form?.name ?? call.name;
  if (form?.kind === 'custom') {
    const input = status === 'in_progress' ? '' : customInput(call.arguments);
    const id = itemId('ctc', identity, index);
    const namespace = form.namespace === undefined ? {} : { namespace: form.namespace };
    return { id, type: 'custom_tool_call', status, call_id: call.id, name, ...namespace, input };
  }
  const args = form && form.kind !== 'function' ? objectOf(call.arguments) : undefined;
  if (form?.kind === 'tool_search' && args) {
    const id = itemId('tsc', identity, index);
    return { id, type: 'tool_search_call', status, call_id: call.id, execution: 'client', arguments: args };
  }
  if (form && isClientToolKind(form.kind)) {
    const { idPrefix, callType, fields } = clientTools[form.kind];
    const found = args && fields(args);
    const id = itemId(idPrefix, identity, index);
    if (found) return { id, type: callType, status, call_id: call.id, ...found };
    // What the client cannot be told in this form it gets as a function, and can say so to the model.
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

/** Calls whose item can be made once their arguments are whole. */
export function isWholeOnly(name: string, { forms }: OfferedTools): boolean {
  const kind = forms.get(name)?.kind ?? 'function';
  return kind !== 'function' && kind !== 'custom';
}

function objectOf(text: string): Readonly<Record<string, unknown>> | undefined {
  if (text.trim() === '') return {};
  try {
    const value: unknown = JSON.parse(text);
    return isFields(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
