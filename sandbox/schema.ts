// The sandbox's own reading of Warp's wire, and the only place that turns its messages into bytes and back.
// It is written apart from the gateway's schema on purpose: one mistake must not hide in both.
import protobuf from 'protobufjs';
import type { ResponseEvent, Task, WarpRequest, WithUnknowns } from './wire.ts';

// As deep as servers written in Go read: a JSON schema takes three messages for each of its levels.
protobuf.Reader.recursionLimit = 10_000;

// Fields the sandbox neither reads nor sends are left out: they are kept as unknown fields and compared by bytes.
const protoText = `
syntax = "proto3";
package sandbox;

message Empty {}
message Timestamp { int64 seconds = 1; int32 nanos = 2; }
message Duration { int64 seconds = 1; int32 nanos = 2; }
message FieldMask { repeated string paths = 1; }
message Struct { map<string, Value> fields = 1; }
message ListValue { repeated Value values = 1; }
message Value {
  oneof kind {
    int32 null_value = 1; double number_value = 2; string string_value = 3;
    bool bool_value = 4; Struct struct_value = 5; ListValue list_value = 6;
  }
}

message Request {
  TaskContext task_context = 1;
  Input input = 2;
  Settings settings = 3;
  Metadata metadata = 4;
  MCPContext mcp_context = 6;
}
message TaskContext { repeated Task tasks = 1; }
message Input {
  InputContext context = 1;
  oneof type {
    UserInputs user_inputs = 6;
    Empty resume_conversation = 7;
    Summarize summarize_conversation = 13;
  }
}
message Summarize { string prompt = 1; }
message UserInputs { repeated UserInput inputs = 1; }
message UserInput { oneof input { UserQuery user_query = 1; ToolCallResultInput tool_call_result = 2; } }
message UserQuery {
  string query = 1;
  map<string, Attachment> referenced_attachments = 2;
  UserQueryMode mode = 3;
  int32 intended_agent = 4;
}
message UserQueryMode { oneof type { Empty plan = 1; Empty orchestrate = 2; } }
message Attachment { oneof value { string plain_text = 1; } }
message ToolCallResultInput {
  string tool_call_id = 1;
  oneof result { CallMCPToolResult call_mcp_tool = 12; }
}
message CallMCPToolResult { oneof result { CallMCPToolSuccess success = 1; CallMCPToolError error = 2; } }
message CallMCPToolSuccess { repeated CallMCPToolPart results = 1; }
message CallMCPToolError { string message = 1; }
message CallMCPToolPart { oneof result { TextPart text = 1; ImagePart image = 2; } }
message TextPart { string text = 1; }
message ImagePart { bytes data = 1; string mime_type = 2; }

message InputContext {
  Timestamp current_time = 4;
  repeated ImagePart images = 7;
  repeated ProjectRules project_rules = 10;
}
message ProjectRules { string root_path = 1; repeated FileContent active_rule_files = 2; }
message FileContent { string file_path = 1; string content = 2; }

message Metadata { string conversation_id = 1; }
message Settings {
  ModelConfig model_config = 1;
  bool supports_parallel_tool_calls = 4;
  repeated int32 supported_tools = 9;
  bool supports_reasoning_message = 17;
}
message ModelConfig { string base = 1; }

message MCPContext { repeated Empty resources = 1; repeated MCPTool tools = 2; repeated MCPServer servers = 3; }
message MCPServer { string name = 1; string description = 2; repeated MCPTool tools = 4; string id = 5; }
message MCPTool { string name = 1; string description = 2; Struct input_schema = 3; }

message Task {
  string id = 1;
  string description = 2;
  Dependencies dependencies = 3;
  repeated Message messages = 5;
  string summary = 6;
  string server_data = 8;
}
message Dependencies { string parent_task_id = 1; }
message Message {
  string id = 1;
  string task_id = 11;
  string request_id = 13;
  Timestamp timestamp = 14;
  string server_message_data = 7;
  oneof message {
    HistoryUserQuery user_query = 2;
    AgentOutput agent_output = 3;
    ToolCall tool_call = 4;
    HistoryToolCallResult tool_call_result = 5;
    ServerEvent server_event = 6;
    AgentReasoning agent_reasoning = 15;
    // Opaque: a test sends it broken, and it has to be taken back.
    bytes model_used = 25;
  }
}
message HistoryUserQuery {
  string query = 1;
  InputContext context = 2;
  map<string, Attachment> referenced_attachments = 3;
  UserQueryMode mode = 4;
  int32 intended_agent = 5;
}
message AgentOutput { string text = 1; }
message AgentReasoning { string reasoning = 1; Duration finished_duration = 2; }
message ServerEvent { string payload = 1; }
message ToolCall {
  string tool_call_id = 1;
  oneof tool { ServerCall server = 4; CallMCPTool call_mcp_tool = 12; SubagentCall subagent = 19; }
}
message ServerCall { string payload = 1; }
message CallMCPTool { string name = 1; Struct args = 2; string server_id = 3; }
message SubagentCall { string task_id = 1; string payload = 2; }
message HistoryToolCallResult {
  string tool_call_id = 1;
  oneof result {
    ServerResult server = 4; Empty cancel = 14; CallMCPToolResult call_mcp_tool = 16; SubagentResult subagent = 23;
  }
}
message ServerResult { string serialized_result = 1; }
message SubagentResult { string payload = 1; }

message ResponseEvent {
  oneof type { StreamInit init = 1; ClientActions client_actions = 2; StreamFinished finished = 3; }
}
message StreamInit { string conversation_id = 1; string request_id = 2; string run_id = 3; }
message ClientActions { repeated ClientAction actions = 1; }
message ClientAction {
  oneof action {
    CreateTask create_task = 1;
    AddMessages add_messages_to_task = 3;
    PatchMessage update_task_message = 4;
    PatchMessage append_to_message_content = 5;
    Empty show_suggestions = 6;
    UpdateSummary update_task_summary = 7;
    UpdateDescription update_task_description = 8;
    Empty begin_transaction = 9;
    Empty commit_transaction = 10;
    Empty rollback_transaction = 11;
    UpdateServerData update_task_server_data = 13;
    MoveMessages move_messages_to_new_task = 14;
  }
}
message CreateTask { Task task = 1; }
message AddMessages { string task_id = 1; repeated Message messages = 2; }
message PatchMessage { Message message = 1; FieldMask mask = 2; string task_id = 3; }
message UpdateSummary { string task_id = 1; string summary = 2; }
message UpdateDescription { string task_id = 1; string description = 2; }
message MoveMessages {
  string source_task_id = 1;
  Task new_task = 2;
  string first_message_id = 3;
  string last_message_id = 4;
  uint32 expected_message_count = 5;
  repeated Message replacement_messages = 6;
}
message UpdateServerData { string task_id = 1; string server_data = 2; }

message StreamFinished {
  oneof reason {
    Empty other = 1; Empty done = 2; Empty max_token_limit = 3; Empty quota_limit = 4;
    Empty context_window_exceeded = 5; Empty llm_unavailable = 6; InternalError internal_error = 7;
    InvalidApiKey invalid_api_key = 12;
  }
  repeated TokenUsage token_usage = 8;
  bool should_refresh_model_config = 9;
  RequestCost request_cost = 10;
  ConversationUsage conversation_usage_metadata = 11;
  RequestCharges request_charges = 13;
}
message RequestCharges { map<string, ChargedUsage> usage_by_category = 1; }
message ChargedUsage {
  map<string, InferenceUsage> direct_api = 1;
  map<string, InferenceUsage> byok = 2;
  map<string, InferenceUsage> custom_endpoint = 3;
  float platform_usage_in_cents = 4;
}
message InferenceUsage {
  TokenCount tokens = 1; TokenCost cost = 2; uint32 web_search_count = 3; float web_search_cost_in_cents = 4;
}
message TokenCount { uint32 input = 1; uint32 output = 2; uint32 input_cache_read = 3; uint32 input_cache_write = 4; }
message TokenCost { float input = 1; float output = 2; float cache_read = 3; float cache_write = 4; }
message InternalError { string message = 1; }
message InvalidApiKey { int32 provider = 1; string model_name = 2; }
message TokenUsage {
  string model_id = 1; uint32 total_input = 2; uint32 output = 3;
  uint32 input_cache_read = 4; uint32 input_cache_write = 5; float cost_in_cents = 6;
}
message RequestCost { float exact = 1; float platform_credits = 2; }
message ConversationUsage {
  float context_window_usage = 1; bool summarized = 2; float credits_spent = 3;
  map<string, ModelTokens> warp_token_usage = 6; uint32 total_input_tokens = 10;
  RequestCharges total_charges = 12;
}
message ModelTokens { uint32 total_tokens = 2; map<string, uint32> token_usage_by_category = 3; }
`;

const { root } = protobuf.parse(protoText);
root.resolveAll();
const requestType = root.lookupType('sandbox.Request');
const taskType = root.lookupType('sandbox.Task');
const responseEventType = root.lookupType('sandbox.ResponseEvent');

/** Reads a chat request. Absent and default-valued fields are absent in the result; unknown fields are kept.
 *  Throws when the bytes are no such message. */
export function decodeRequest(bytes: Uint8Array): WarpRequest {
  const reader = protobuf.Reader.create(bytes);
  reader.discardUnknown = false;
  return plain(requestType, requestType.decode(reader)) as WarpRequest;
}

/** One ResponseEvent as protobuf bytes. */
export function encodeEvent(event: ResponseEvent): Buffer {
  return Buffer.from(responseEventType.encode(event).finish());
}

/** A task in the form `decodeRequest` gives, so that what was sent and what came back compare field by field. */
export function normaliseTask(task: Task): Task {
  return plain(taskType, task) as Task;
}

/** One length-delimited field as raw bytes, for messages the schema above does not know. */
export function rawField(fieldNumber: number, content: string | Uint8Array): Uint8Array {
  const writer = protobuf.Writer.create().uint32((fieldNumber << 3) | 2);
  return (typeof content === 'string' ? writer.string(content) : writer.bytes(content)).finish();
}

/** One varint field as raw bytes. */
export function rawVarint(fieldNumber: number, value: number): Uint8Array {
  return protobuf.Writer.create()
    .uint32(fieldNumber << 3)
    .uint32(value)
    .finish();
}

function plain(type: protobuf.Type, message: object): WithUnknowns & Record<string, unknown> {
  const source = message as Record<string, unknown> & WithUnknowns;
  const result: WithUnknowns & Record<string, unknown> = {};
  for (const field of type.fieldsArray) {
    if (!Object.hasOwn(source, field.name)) continue;
    const value = source[field.name];
    if (value === undefined || value === null) continue;
    const plainValue = plainField(field, value);
    if (plainValue !== undefined) result[field.name] = plainValue;
  }
  const unknowns = Object.hasOwn(source, '$unknowns') ? source.$unknowns : undefined;
  if (unknowns && unknowns.length > 0) {
    // Sorted: the order in which unknown fields are written back carries no meaning.
    result.$unknowns = unknowns.map((bytes) => Buffer.from(bytes)).sort(Buffer.compare);
  }
  return result;
}

function plainField(field: protobuf.Field, value: unknown): unknown {
  const one = (item: unknown): unknown => {
    if (field.resolvedType instanceof protobuf.Type) return plain(field.resolvedType, item as object);
    if (item instanceof Uint8Array) return Buffer.from(item);
    return typeof item === 'object' ? Number(item) : item;
  };
  if (field.map) {
    const entries = Object.entries(value as Record<string, unknown>);
    return entries.length > 0
      ? Object.fromEntries(entries.map(([key, item]) => [key, one(item)]))
      : undefined;
  }
  if (field.repeated) {
    const items = value as unknown[];
    return items.length > 0 ? items.map(one) : undefined;
  }
  const result = one(value);
  const isDefault =
    result === '' || result === 0 || result === false || (Buffer.isBuffer(result) && !result.length);
  return isDefault && !field.partOf ? undefined : result;
}
