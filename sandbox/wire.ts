// The shapes of Warp's messages as the sandbox handles them. An absent field is absent, never null.

/** Raw bytes of fields the schema does not know, each with its tag. Written back as they came. */
export interface WithUnknowns {
  $unknowns?: Uint8Array[];
}

type Empty = WithUnknowns;

export interface Value extends WithUnknowns {
  nullValue?: number;
  numberValue?: number;
  stringValue?: string;
  boolValue?: boolean;
  structValue?: Struct;
  listValue?: { values?: Value[] };
}

export interface Struct extends WithUnknowns {
  fields?: Record<string, Value>;
}

export interface WarpRequest extends WithUnknowns {
  taskContext?: { tasks?: Task[] };
  input?: Input;
  settings?: Settings;
  metadata?: { conversationId?: string };
  mcpContext?: MCPContext;
}

export interface Input extends WithUnknowns {
  context?: InputContext;
  userInputs?: { inputs?: UserInput[] };
  resumeConversation?: Empty;
  summarizeConversation?: { prompt?: string };
}

interface UserInput extends WithUnknowns {
  userQuery?: UserQuery;
  toolCallResult?: WithUnknowns & { toolCallId?: string; callMcpTool?: CallMCPToolResult };
}

export interface UserQuery extends WithUnknowns {
  query?: string;
  referencedAttachments?: Record<string, { plainText?: string }>;
  mode?: { plan?: Empty; orchestrate?: Empty };
  intendedAgent?: number;
}

export interface CallMCPToolResult extends WithUnknowns {
  success?: { results?: { text?: { text?: string }; image?: Image }[] };
  error?: { message?: string };
}

/** `data` holds the ASCII of the base64 text. */
interface Image extends WithUnknowns {
  data?: Uint8Array;
  mimeType?: string;
}

export interface InputContext extends WithUnknowns {
  currentTime?: Timestamp;
  images?: Image[];
  projectRules?: { rootPath?: string; activeRuleFiles?: { filePath?: string; content?: string }[] }[];
}

interface Settings extends WithUnknowns {
  modelConfig?: { base?: string };
  supportsParallelToolCalls?: boolean;
  supportedTools?: number[];
  supportsReasoningMessage?: boolean;
}

interface MCPContext extends WithUnknowns {
  resources?: Empty[];
  tools?: MCPTool[];
  servers?: { name?: string; description?: string; tools?: MCPTool[]; id?: string }[];
}

interface MCPTool extends WithUnknowns {
  name?: string;
  description?: string;
  inputSchema?: Struct;
}

interface Timestamp extends WithUnknowns {
  seconds?: number;
  nanos?: number;
}

export interface Task extends WithUnknowns {
  id?: string;
  description?: string;
  dependencies?: { parentTaskId?: string };
  messages?: Message[];
  summary?: string;
  serverData?: string;
}

export interface Message extends WithUnknowns {
  id?: string;
  taskId?: string;
  requestId?: string;
  timestamp?: Timestamp;
  serverMessageData?: string;
  userQuery?: UserQuery & { context?: InputContext };
  agentOutput?: WithUnknowns & { text?: string };
  toolCall?: ToolCall;
  toolCallResult?: ToolCallResult;
  serverEvent?: { payload?: string };
  agentReasoning?: { reasoning?: string; finishedDuration?: Timestamp };
  /** The bytes of the message. */
  modelUsed?: Uint8Array;
}

export interface ToolCall extends WithUnknowns {
  toolCallId?: string;
  server?: { payload?: string };
  callMcpTool?: WithUnknowns & { name?: string; args?: Struct; serverId?: string };
  subagent?: { taskId?: string; payload?: string };
}

interface ToolCallResult extends WithUnknowns {
  toolCallId?: string;
  server?: { serializedResult?: string };
  cancel?: Empty;
  callMcpTool?: CallMCPToolResult;
  subagent?: { payload?: string };
}

export interface ResponseEvent extends WithUnknowns {
  init?: { conversationId: string; requestId: string; runId?: string };
  clientActions?: { actions: ClientAction[] };
  finished?: StreamFinished;
}

export interface PatchMessage {
  taskId: string;
  message: Message;
  mask: { paths: string[] };
}

export interface ClientAction extends WithUnknowns {
  createTask?: { task: Task };
  addMessagesToTask?: { taskId: string; messages: Message[] };
  updateTaskMessage?: PatchMessage;
  appendToMessageContent?: PatchMessage;
  showSuggestions?: Empty;
  updateTaskSummary?: { taskId: string; summary: string };
  updateTaskDescription?: { taskId: string; description: string };
  beginTransaction?: Empty;
  commitTransaction?: Empty;
  rollbackTransaction?: Empty;
  updateTaskServerData?: { taskId: string; serverData: string };
  moveMessagesToNewTask?: MoveMessages;
}

export interface MoveMessages {
  sourceTaskId: string;
  newTask: Task;
  firstMessageId: string;
  lastMessageId: string;
  expectedMessageCount: number;
  replacementMessages: Message[];
}

export interface FinishReason {
  other?: Empty;
  done?: Empty;
  maxTokenLimit?: Empty;
  quotaLimit?: Empty;
  contextWindowExceeded?: Empty;
  llmUnavailable?: Empty;
  internalError?: { message: string };
  invalidApiKey?: { provider: number; modelName: string };
}

/** Tokens and US cents by category, by how the model was reached, by model. */
export interface RequestCharges {
  usageByCategory: Record<string, ChargedUsage>;
}

interface ChargedUsage {
  directApi?: Record<string, InferenceUsage>;
  byok?: Record<string, InferenceUsage>;
  customEndpoint?: Record<string, InferenceUsage>;
  platformUsageInCents?: number;
}

interface InferenceUsage {
  tokens?: { input: number; output: number; inputCacheRead?: number; inputCacheWrite?: number };
  cost?: { input: number; output: number; cacheRead?: number; cacheWrite?: number };
  webSearchCount?: number;
  webSearchCostInCents?: number;
}

export interface Usage {
  tokenUsage?: {
    modelId: string;
    totalInput: number;
    output: number;
    inputCacheRead?: number;
    inputCacheWrite?: number;
    costInCents: number;
  }[];
  requestCost?: { exact: number };
  requestCharges?: RequestCharges;
  conversationUsageMetadata?: WithUnknowns & {
    contextWindowUsage: number;
    creditsSpent: number;
    warpTokenUsage?: Record<string, { totalTokens: number; tokenUsageByCategory: Record<string, number> }>;
    /** Of the latest call of the main model: no running total. */
    totalInputTokens: number;
    totalCharges?: RequestCharges;
  };
}

export interface StreamFinished extends FinishReason, Usage, WithUnknowns {
  shouldRefreshModelConfig?: boolean;
}
