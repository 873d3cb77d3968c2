import { expect, it } from 'vitest';
import { Message, ResponseEvent, type Schema, TaskContext } from './schema.ts';

/** Field numbers as the upstream has them, written down apart from the schema. */
const wireNumbers: Record<string, string> = {
  TaskContext: 'tasks 1',
  ModelTokensEntry: 'key 1, value 2',
  InferenceUsageEntry: 'key 1, value 2',
  ChargedUsageEntry: 'key 1, value 2',
  ResponseEvent: 'init 1, client_actions 2, finished 3',
  StreamInit: 'conversation_id 1, request_id 2',
  ClientActions: 'actions 1',
  ClientAction:
    'create_task 1, add_messages_to_task 3, update_task_message 4, append_to_message_content 5, ' +
    'show_suggestions 6, update_task_summary 7, ' +
    'update_task_description 8, begin_transaction 9, commit_transaction 10, rollback_transaction 11, ' +
    'start_new_conversation 12, ' +
    'update_task_server_data 13, move_messages_to_new_task 14',
  CreateTask: 'task 1',
  AddMessagesToTask: 'task_id 1, messages 2',
  ChangeMessage: 'message 1, mask 2, task_id 3',
  FieldMask: 'paths 1',
  UpdateTaskDescription: 'task_id 1, description 2',
  UpdateTaskServerData: 'task_id 1, server_data 2',
  MoveMessagesToNewTask:
    'source_task_id 1, new_task 2, first_message_id 3, last_message_id 4, expected_message_count 5, ' +
    'replacement_messages 6',
  Task: 'id 1, description 2, dependencies 3, messages 5, server_data 8',
  TaskDependencies: 'parent_task_id 1',
  Message:
    'id 1, user_query 2, agent_output 3, tool_call 4, tool_call_result 5, server_event 6, ' +
    'server_message_data 7, citations 8, system_query 9, update_todos 10, task_id 11, request_id 13, ' +
    'timestamp 14, agent_reasoning 15, summarization 16, code_review 17, update_review_comments 18, ' +
    'web_search 19, web_fetch 20, debug_output 21, artifact_event 22, invoke_skill 23, ' +
    'messages_received_from_agents 24, model_used 25, events_from_agents 26, ' +
    'passive_suggestion_result 27, orchestration_config_snapshot 28, fetched_memories 29',
  AgentOutput: 'text 1',
  AgentReasoning: 'reasoning 1, finished_duration 2',
  ModelUsed: 'model_id 1, model_display_name 2, is_fallback 3, prompt_cache_expires_at 4',
  ToolCall: 'tool_call_id 1, server 4, read_mcp_resource 11, call_mcp_tool 12, subagent 19',
  ReadMcpResource: 'uri 1, server_id 2',
  CallMcpTool: 'name 1, args 2, server_id 3',
  Subagent: 'task_id 1',
  ToolCallResult: 'tool_call_id 1',
  StreamFinished:
    'other 1, done 2, max_token_limit 3, quota_limit 4, context_window_exceeded 5, llm_unavailable 6, ' +
    'internal_error 7, token_usage 8, should_refresh_model_config 9, request_cost 10, conversation_usage_metadata 11, invalid_api_key 12, request_charges 13, ' +
    'subscription_limit 14',
  InternalError: 'message 1',
  InvalidApiKey: 'model_name 2',
  SubscriptionLimit: 'message 3',
  TokenUsage: 'total_input 2, output 3, input_cache_read 4, input_cache_write 5, cost_in_cents 6',
  RequestCost: 'exact 1, platform_credits 2',
  ConversationUsage:
    'credits_spent 3, warp_token_usage 6, byok_token_usage 7, platform_credits_spent 8, ' +
    'custom_endpoint_token_usage 9, total_input_tokens 10, total_charges 12',
  RequestCharges: 'usage_by_category 1',
  ChargedUsage: 'direct_api 1, byok 2, custom_endpoint 3, platform_usage_in_cents 4',
  InferenceUsage: 'token_count 1, token_cost 2, web_search_cost_in_cents 4',
  TokenCount: 'input 1, output 2, input_cache_read 3, input_cache_write 4',
  TokenCost: 'input 1, output 2, cache_read 3, cache_write 4',
  ModelTokens: 'total_tokens 2',
};

/** With all that it holds. */
function numbersOf(schema: Schema): [string, string][] {
  const fields = schema.plans.map(({ name, number }) => `${name} ${number}`).join(', ');
  return [
    [schema.name, fields],
    ...schema.plans.flatMap((plan) => (plan.schema ? numbersOf(plan.schema) : [])),
  ];
}

it('has the numbers of the wire', () => {
  const numbers = [TaskContext, Message, ResponseEvent].flatMap(numbersOf);
  expect(Object.fromEntries(numbers)).toEqual(wireNumbers);
});
