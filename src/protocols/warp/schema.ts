import { WireType } from '@bufbuild/protobuf/wire';

/** A field of a message. `Value`: what a message holds of it. */
export interface Field<Value = unknown> {
  readonly number: number;
  readonly kind: keyof typeof wireTypes;
  /** Where it is not there. */
  readonly initial: Value;
  /** Of a field that holds a message. */
  readonly schema?: Schema;
  readonly isList?: true;
}

const wireTypes = {
  text: WireType.LengthDelimited,
  bytes: WireType.LengthDelimited,
  message: WireType.LengthDelimited,
  flag: WireType.Varint,
  count: WireType.Varint,
  float: WireType.Bit32,
  double: WireType.Bit64,
} as const;

/** Fields of which a message has one at most. */
interface Oneof<Members extends Readonly<Record<string, Field>>> {
  readonly members: Members;
}
type Shape = Readonly<Record<string, Field | Oneof<Readonly<Record<string, Field>>>>>;

type ValueOf<Given> =
  Given extends Field<infer Value> ? Value : Given extends Oneof<infer Members> ? CaseOf<Members> : never;
type CaseOf<Members> =
  | { readonly case: undefined; readonly value?: undefined }
  | {
      [Name in keyof Members]: { readonly case: Name; readonly value: NonNullable<ValueOf<Members[Name]>> };
    }[keyof Members];

/** A field of a number or in a form that is not known, as it came. */
export interface UnknownField {
  readonly number: number;
  readonly wireType: WireType;
  readonly data: Uint8Array;
}
/** A message whose fields are reached by their plans. */
export interface AnyMessage {
  $unknown?: UnknownField[] | undefined;
  [property: string]: unknown;
}
export type MessageOf<Of> =
  Of extends Schema<infer Given>
    ? { -readonly [Name in keyof Given]: ValueOf<Given[Name]> } & Pick<AnyMessage, '$unknown'>
    : never;

/** What a field is read and written by. */
export interface FieldPlan extends Field {
  /** The wire's own name, as field masks spell it. */
  readonly name: string;
  /** The property that holds it, and its case there where that is one of several. */
  readonly property: string;
  readonly member: string | undefined;
  readonly wireType: WireType;
}

export interface Schema<Given extends Shape = Shape> {
  readonly name: string;
  readonly shape: Given;
  /** A message before it has any field: what is not there is the prototype's. */
  readonly Empty: new () => AnyMessage;
  /** In the order in which they are written. */
  readonly plans: readonly FieldPlan[];
  readonly byNumber: readonly (FieldPlan | undefined)[];
}

function define<const Given extends Shape>(name: string, shape: Given): Schema<Given> {
  const Empty = class {
    declare $unknown: UnknownField[] | undefined;
    [property: string]: unknown;
  };
  const initial: AnyMessage = Empty.prototype;
  const plans: FieldPlan[] = [];
  const add = (own: string, field: Field, property: string, member?: string) =>
    plans.push({
      ...field,
      name: own.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      property,
      member,
      wireType: wireTypes[field.kind],
    });
  for (const [own, given] of Object.entries<Shape[string]>(shape)) {
    if ('members' in given) {
      initial[own] = noCase;
      for (const [member, field] of Object.entries(given.members)) add(member, field, own, member);
    } else {
      initial[own] = given.initial;
      add(own, given, own);
    }
  }
  plans.sort((left, right) => left.number - right.number);
  const byNumber: (FieldPlan | undefined)[] = [];
  for (const plan of plans) byNumber[plan.number] = plan;
  return { name, shape, Empty, plans, byNumber: Array.from(byNumber) };
}

export function newMessage(schema: Schema): AnyMessage {
  return new schema.Empty();
}

/** Undefined where it is not there, or a list is empty. */
export function valueIn(message: AnyMessage, { property, member, isList }: FieldPlan): unknown {
  const held = message[property];
  if (member !== undefined) return isCase(held, member) ? held.value : undefined;
  return isList && Array.isArray(held) && held.length === 0 ? undefined : held;
}

/** Undefined takes it away. */
export function setValue(
  message: AnyMessage,
  { property, member, initial }: FieldPlan,
  value: unknown,
): void {
  if (member === undefined) message[property] = value ?? initial;
  else if (value !== undefined) message[property] = { case: member, value };
  else if (isCase(message[property], member)) message[property] = noCase;
}

const noCase = { case: undefined };

function isCase(held: unknown, member: string): held is { readonly value: unknown } {
  return (held as { readonly case: string | undefined }).case === member;
}

type Maybe<Value> = Field<Value | undefined>;

/** Absent or empty is one to the wire. */
const text = (number: number): Field<string> => ({ number, kind: 'text', initial: '' });
const count = (number: number): Field<number> => ({ number, kind: 'count', initial: 0 });
const float = (number: number): Field<number> => ({ number, kind: 'float', initial: 0 });
const double = (number: number): Field<number> => ({ number, kind: 'double', initial: 0 });
const flag = (number: number): Field<boolean> => ({ number, kind: 'flag', initial: false });
/** An explicitly empty value stays explicit. */
const maybeText = (number: number): Maybe<string> => ({ number, kind: 'text', initial: undefined });
const maybeFlag = (number: number): Maybe<boolean> => ({ number, kind: 'flag', initial: undefined });
const bytes = (number: number): Maybe<Uint8Array> => ({ number, kind: 'bytes', initial: undefined });
const one = <Of extends Schema>(number: number, schema: Of): Maybe<MessageOf<Of>> => ({
  number,
  kind: 'message',
  initial: undefined,
  schema,
});
const many = <Value>(field: Field<Value>): Field<readonly NonNullable<Value>[]> => ({
  ...field,
  initial: [],
  isList: true,
});
const oneOf = <const Members extends Readonly<Record<string, Field>>>(members: Members): Oneof<Members> => ({
  members,
});
/** A map, as the list that it is on the wire. The log names what of it cannot be read. */
const named = <Of extends Schema>(number: number, schema: Of) =>
  many(one(number, define(`${schema.name}Entry`, { key: text(1), value: one(2, schema) })));

// The part of Warp's agent wire that is read here, and of that what is written again. All else travels through as unknown fields, and
// `bytes` where the wire has a message are kept encoded on purpose: the echo returns them byte for byte. What only goes up,
// encode-request.ts writes by hand. The names of fields below Message matter: field masks spell them, with underscores.

const TaskDependencies = define('TaskDependencies', { parentTaskId: maybeText(1) });
export const Task = define('Task', {
  id: maybeText(1),
  description: maybeText(2),
  dependencies: one(3, TaskDependencies),
  /** Encoded Messages: most are sent back as they came, and read only if something asks for them. */
  messages: many(bytes(5)),
  serverData: bytes(8),
});
export type Task = MessageOf<typeof Task>;
export const TaskContext = define('TaskContext', { tasks: many(one(1, Task)) });

const ToolCall = define('ToolCall', {
  toolCallId: maybeText(1),
  tool: oneOf({
    server: bytes(4),
    readMcpResource: one(11, define('ReadMcpResource', { uri: maybeText(1), serverId: maybeText(2) })),
    callMcpTool: one(
      12,
      // The arguments are an encoded google.protobuf.Struct.
      define('CallMcpTool', { name: maybeText(1), args: bytes(2), serverId: maybeText(3) }),
    ),
    subagent: one(19, define('Subagent', { taskId: maybeText(1) })),
  }),
});
export type ToolCall = MessageOf<typeof ToolCall>;

export const Message = define('Message', {
  id: maybeText(1),
  serverMessageData: maybeText(7),
  citations: many(bytes(8)),
  taskId: maybeText(11),
  requestId: maybeText(13),
  timestamp: bytes(14),
  fetchedMemories: many(bytes(29)),
  message: oneOf({
    userQuery: bytes(2),
    agentOutput: one(3, define('AgentOutput', { text: maybeText(1) })),
    toolCall: one(4, ToolCall),
    // Which tool answered does not matter here.
    toolCallResult: one(5, define('ToolCallResult', { toolCallId: maybeText(1) })),
    serverEvent: bytes(6),
    systemQuery: bytes(9),
    updateTodos: bytes(10),
    agentReasoning: one(
      15,
      define('AgentReasoning', { reasoning: maybeText(1), finishedDuration: bytes(2) }),
    ),
    summarization: bytes(16),
    codeReview: bytes(17),
    updateReviewComments: bytes(18),
    webSearch: bytes(19),
    webFetch: bytes(20),
    debugOutput: bytes(21),
    artifactEvent: bytes(22),
    invokeSkill: bytes(23),
    messagesReceivedFromAgents: bytes(24),
    // Read whole: each call of the model says again when its cache expires.
    modelUsed: one(
      25,
      define('ModelUsed', {
        modelId: maybeText(1),
        modelDisplayName: maybeText(2),
        isFallback: maybeFlag(3),
        promptCacheExpiresAt: bytes(4),
      }),
    ),
    eventsFromAgents: bytes(26),
    passiveSuggestionResult: bytes(27),
    orchestrationConfigSnapshot: bytes(28),
  }),
});
export type Message = MessageOf<typeof Message>;

const ChangeMessage = define('ChangeMessage', {
  message: one(1, Message),
  mask: one(2, define('FieldMask', { paths: many(text(1)) })),
  taskId: text(3),
});
export type ChangeMessage = MessageOf<typeof ChangeMessage>;
const MoveMessagesToNewTask = define('MoveMessagesToNewTask', {
  sourceTaskId: text(1),
  newTask: one(2, Task),
  firstMessageId: text(3),
  lastMessageId: text(4),
  expectedMessageCount: count(5),
  replacementMessages: many(bytes(6)),
});
export type MoveMessagesToNewTask = MessageOf<typeof MoveMessagesToNewTask>;
const ClientAction = define('ClientAction', {
  action: oneOf({
    createTask: one(1, define('CreateTask', { task: one(1, Task) })),
    // The messages are encoded, as in Task.
    addMessagesToTask: one(3, define('AddMessagesToTask', { taskId: text(1), messages: many(bytes(2)) })),
    updateTaskMessage: one(4, ChangeMessage),
    appendToMessageContent: one(5, ChangeMessage),
    showSuggestions: bytes(6),
    updateTaskSummary: bytes(7),
    updateTaskDescription: one(
      8,
      define('UpdateTaskDescription', { taskId: text(1), description: maybeText(2) }),
    ),
    beginTransaction: bytes(9),
    commitTransaction: bytes(10),
    rollbackTransaction: bytes(11),
    startNewConversation: bytes(12),
    updateTaskServerData: one(13, define('UpdateTaskServerData', { taskId: text(1), serverData: bytes(2) })),
    moveMessagesToNewTask: one(14, MoveMessagesToNewTask),
  }),
});
export type ClientAction = MessageOf<typeof ClientAction>;

// US cents.
const TokenCost = define('TokenCost', {
  input: float(1),
  output: float(2),
  cacheRead: float(3),
  cacheWrite: float(4),
});
const InferenceUsage = define('InferenceUsage', {
  tokenCount: one(
    1,
    define('TokenCount', {
      input: count(1),
      output: count(2),
      inputCacheRead: count(3),
      inputCacheWrite: count(4),
    }),
  ),
  tokenCost: one(2, TokenCost),
  webSearchCostInCents: float(4),
});
export type InferenceUsage = MessageOf<typeof InferenceUsage>;
/** By model. */
const ChargedUsage = define('ChargedUsage', {
  directApi: named(1, InferenceUsage),
  byok: named(2, InferenceUsage),
  customEndpoint: named(3, InferenceUsage),
  platformUsageInCents: float(4),
});
export type ChargedUsage = MessageOf<typeof ChargedUsage>;
const RequestCharges = define('RequestCharges', { usageByCategory: named(1, ChargedUsage) });
export type RequestCharges = MessageOf<typeof RequestCharges>;
const ModelTokens = define('ModelTokens', { totalTokens: count(2) });
const ConversationUsage = define('ConversationUsage', {
  /** A running total, as platformCreditsSpent, totalCharges and the tokens by model are. */
  creditsSpent: float(3),
  warpTokenUsage: named(6, ModelTokens),
  byokTokenUsage: named(7, ModelTokens),
  platformCreditsSpent: float(8),
  customEndpointTokenUsage: named(9, ModelTokens),
  /** The input of the latest call of the primary model; no running total. */
  totalInputTokens: count(10),
  totalCharges: one(12, RequestCharges),
});
export type ConversationUsage = MessageOf<typeof ConversationUsage>;

export const StreamFinished = define('StreamFinished', {
  // Which reason is set is what counts, so those without fields are not described.
  reason: oneOf({
    other: bytes(1),
    done: bytes(2),
    maxTokenLimit: bytes(3),
    quotaLimit: bytes(4),
    contextWindowExceeded: bytes(5),
    llmUnavailable: bytes(6),
    internalError: one(7, define('InternalError', { message: text(1) })),
    invalidApiKey: one(12, define('InvalidApiKey', { modelName: text(2) })),
    /** A second form of a spent quota. Its name is ours: no schema text of it is public. */
    subscriptionLimit: one(14, define('SubscriptionLimit', { message: text(3) })),
  }),
  tokenUsage: many(
    one(
      8,
      define('TokenUsage', {
        totalInput: count(2),
        output: count(3),
        inputCacheRead: count(4),
        inputCacheWrite: count(5),
        costInCents: float(6),
      }),
    ),
  ),
  /** The account's list of models has changed. */
  shouldRefreshModelConfig: flag(9),
  requestCost: one(10, define('RequestCost', { exact: float(1), platformCredits: float(2) })),
  conversationUsageMetadata: one(11, ConversationUsage),
  requestCharges: one(13, RequestCharges),
});
export type StreamFinished = MessageOf<typeof StreamFinished>;
const StreamInit = define('StreamInit', { conversationId: text(1), requestId: text(2) });
export type StreamInit = MessageOf<typeof StreamInit>;
export const ResponseEvent = define('ResponseEvent', {
  type: oneOf({
    init: one(1, StreamInit),
    clientActions: one(2, define('ClientActions', { actions: many(one(1, ClientAction)) })),
    finished: one(3, StreamFinished),
  }),
});

/** The upstream's running totals of a conversation, as of its last turn. */
export const UsageTotals = define('UsageTotals', {
  totalTokens: count(2),
  credits: double(3),
  /** What was charged; absent when no turn told it, so that nothing can be said of its growth. */
  charges: one(
    4,
    define('ChargeTotals', {
      /** Apart from what was read from a cache or written to one. */
      inputTokens: double(1),
      outputTokens: double(2),
      cacheReadTokens: double(3),
      cacheWriteTokens: double(4),
      costCents: double(5),
    }),
  ),
});
export type UsageTotals = MessageOf<typeof UsageTotals>;
/** What is kept between the turns of one conversation. Ours alone; never sent. */
export const Memory = define('Memory', {
  version: count(1),
  conversationId: text(2),
  /** An encoded TaskContext, sent as it stands. */
  taskContext: bytes(3),
  totals: one(4, UsageTotals),
});
