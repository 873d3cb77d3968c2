import { WireType } from '@bufbuild/protobuf/wire';
import type { ToolCall } from './gen/warp_pb.js';

/** The upstream's own tools, in the order of its list of tool types. */
const names = [
  'run_shell_command',
  'search_codebase',
  'read_files',
  'apply_file_diffs',
  'suggest_plan',
  'suggest_create_plan',
  'grep',
  'file_glob',
  'read_mcp_resource',
  'call_mcp_tool',
  'write_to_long_running_shell_command',
  'suggest_new_conversation',
  'file_glob_v2',
  'suggest_prompt',
  'open_code_review',
  'init_project',
  'subagent',
  'read_documents',
  'edit_documents',
  'create_documents',
  'read_shell_command_output',
  'use_computer',
  'insert_review_comments',
  'read_skill',
  'request_computer_use',
  'fetch_conversation',
  'start_agent',
  'send_message_to_agent',
  'transfer_shell_command_control_to_user',
  'ask_user_question',
  'start_agent_v2',
  'upload_file_artifact',
  'run_agents',
  'wait_for_events',
  'start_recording',
  'stop_recording',
];
const serverCall = 4;

/** A call of one of the upstream's own tools; undefined for other calls, and for one that names no tool. */
export function builtinCall({
  tool,
  $unknown = [],
}: ToolCall): { readonly name: string; readonly arguments: string } | undefined {
  if (tool.case === 'readMcpResource') {
    const { uri, serverId } = tool.value;
    return { name: 'read_mcp_resource', arguments: JSON.stringify({ uri, server_id: serverId }) };
  }
  if (tool.case !== undefined) return undefined;
  const members = $unknown.filter(({ wireType }) => wireType === WireType.LengthDelimited);
  const member = members.find(({ no }) => nameOf(no) !== undefined) ?? members[0];
  if (!member) return undefined;
  // The names of their fields are not known here.
  return { name: nameOf(member.no) ?? `builtin_tool_${member.no}`, arguments: '{}' };
}

/** By the number of its field in a call: they follow the list, but for the number of the server's own calls. */
function nameOf(number: number): string | undefined {
  return names[number < serverCall ? number - 2 : number - 3];
}
