import type { AnswerIdentity } from '../../core/protocol.ts';
import type { ToolCall } from '../../core/turn.ts';
import { parseJsonObject } from '../../lib/parse-json.ts';
import { argumentsText } from '../shared/read-messages.ts';
import { customArguments, customInput } from '../shared/tools.ts';
import { clientArguments, clientTools, isClientToolKind, kindsOfCall } from './client-tools.ts';
import { nameOfCall, type OfferedTools } from './offered-tools.ts';
import { type ItemStatus, itemId, type OutputItem } from './response.ts';
import { type InputItem, inputItem, isClientCall, isKind } from './schema.ts';

/** A call as an item, under the name and in the form the client offered the tool. */
export function callItem(
  identity: Pick<AnswerIdentity, 'id'>,
  index: number,
  call: ToolCall,
  tools: OfferedTools,
  status: ItemStatus,
): OutputItem {
  const form = tools.forms.get(call.name);
  const name = form?.kind === 'function' || form?.kind === 'custom' ? form.name : call.name;
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
    // Arguments that do not fit this form reach the client as a function call, which it can answer with an error.
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

/** A call of the history; without an id where its item has none. */
export interface CallOfItem extends Omit<ToolCall, 'id'> {
  readonly id: string | null | undefined;
}

/** The call that an item holds; undefined for other items. */
export function callOfItem(item: InputItem, tools: OfferedTools): CallOfItem | undefined {
  if (isKind(item, 'function_call')) {
    const name = nameOfCall(tools, ['function'], item.name, item.namespace);
    return { id: item.call_id, name, arguments: argumentsText(item.arguments) };
  }
  if (isKind(item, 'custom_tool_call')) {
    const name = nameOfCall(tools, ['custom'], item.name, item.namespace);
    return { id: item.call_id, name, arguments: customArguments(item.input) };
  }
  // Without an id it was run by a provider.
  if (isKind(item, 'tool_search_call') && item.call_id) {
    const name = nameOfCall(tools, ['tool_search'], 'tool_search');
    return { id: item.call_id, name, arguments: argumentsText(item.arguments) };
  }
  if (!isClientCall(item)) return undefined;
  const name = nameOfCall(tools, kindsOfCall(item.type), item.type.replace(/_call$/, ''));
  return { id: item.call_id, name, arguments: JSON.stringify(clientArguments(item)) };
}

/** A call as it comes back in the next request: some items hold the arguments in another form than the model wrote. */
export function resentCall(call: ToolCall, tools: OfferedTools): ToolCall {
  const read = inputItem.safeParse(callItem({ id: '' }, 0, call, tools, 'completed')).data;
  return { ...call, ...(read && callOfItem(read, tools)), id: call.id };
}

/** Upstreams end a call that a limit has cut as any other; its arguments show it. */
export function isCut(call: Pick<ToolCall, 'arguments'> | undefined): boolean {
  return call !== undefined && parseJsonObject(call.arguments) === undefined;
}

/** Calls whose item can be made once their arguments are whole. */
export function isWholeOnly(name: string, { forms }: OfferedTools): boolean {
  const kind = forms.get(name)?.kind ?? 'function';
  return kind !== 'function' && kind !== 'custom';
}

function objectOf(text: string): Readonly<Record<string, unknown>> | undefined {
  if (text.trim() === '') return {};
  return parseJsonObject(text);
}
