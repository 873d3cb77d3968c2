// What a query asks for, held to the fields that the wire's description names: as at any GraphQL server one field too many fails all of
// it, and what was not asked for is not answered.

interface ObjectType {
  readonly name: string;
  /** Null: a value without fields of its own. */
  readonly fields: Readonly<Record<string, ObjectType | null>>;
}

function type(name: string, values: string, objects: Record<string, ObjectType> = {}): ObjectType {
  const plain = values.split(' ').filter((field) => field !== '');
  return { name, fields: { ...Object.fromEntries(plain.map((field) => [field, null])), ...objects } };
}

const grant = type(
  'BonusGrant',
  'createdAt costCents expiration grantType scope reason userFacingMessage requestCreditsGranted requestCreditsRemaining',
);
const spending = type(
  'SpendingInfo',
  'currentMonthCreditsPurchased currentMonthPeriodEnd currentMonthSpendCents',
);
const llm = type(
  'LlmInfo',
  'id displayName baseModelName reasoningLevel description disableReason visionSupported provider',
  {
    usageMetadata: type('LlmUsageMetadata', 'creditMultiplier requestMultiplier'),
    spec: type('LlmSpec', 'cost quality speed'),
    hostConfigs: type('LlmHostConfig', 'enabled modelRoutingHost'),
    pricing: type('LlmPricing', 'discountPercentage'),
    contextWindow: type('LlmContextWindow', 'isConfigurable min max default'),
  },
);
const llms = type('AvailableLlms', 'defaultId preferredCodexModelId', { choices: llm });
const choice = type('FeatureModelChoice', '', {
  agentMode: llms,
  planning: llms,
  coding: llms,
  cliAgent: llms,
  computerUseAgent: llms,
});
const user = type('User', '', {
  requestLimitInfo: type(
    'RequestLimitInfo',
    'isUnlimited requestLimit requestsUsedSinceLastRefresh nextRefreshTime requestLimitRefreshDuration',
  ),
  bonusGrants: grant,
  workspaces: type('Workspace', 'uid', {
    bonusGrantsInfo: type('BonusGrantsInfo', '', { grants: grant, spendingInfo: spending }),
    featureModelChoice: choice,
  }),
  aiCreditAvailability: type('AiCreditAvailability', 'available denialReason creditSource'),
  llms: choice,
});
/** What `user` may be. */
const arms = [
  type('UserOutput', 'apiKeyOwnerType principalType', { user }),
  type('UserFacingError', '', { error: type('Error', 'message') }),
];

interface Selection {
  readonly fields: Map<string, Selection | undefined>;
  /** By the type that they are for. */
  readonly fragments: Map<string, Selection>;
}

const head = /^\s*query\s+(\w+)\s*\(\s*\$requestContext\s*:\s*RequestContext!\s*\)\s*(?=\{)/;
const root = /^\{\s*user\s*\(\s*requestContext\s*:\s*\$requestContext\s*\)\s*(\{.*\})\s*\}\s*$/s;

/** Of `output`, a `UserOutput`, what the query of that name asks for. Throws Error with what a server would say. */
export function selected(query: string, name: string, output: object): unknown {
  const named = head.exec(query);
  if (named?.[1] !== name)
    throw new Error(`The query is no "query ${name}($requestContext: RequestContext!)".`);
  const inner = root.exec(query.slice(named[0].length))?.[1];
  if (inner === undefined)
    throw new Error('The query does not ask for "user" alone, with its $requestContext.');
  const words = inner.match(/\.\.\.|\w+|[^\s\w]/g) ?? [];
  const selection = readSelection(words);
  if (words.length > 0) throw new Error(`Syntax Error: Unexpected "${words[0]}".`);
  const result: Record<string, unknown> = {};
  for (const field of selection.fields.keys()) {
    if (field !== '__typename') throw new Error(`Cannot query field "${field}" on type "UserResult".`);
    result[field] = 'UserOutput';
  }
  for (const [arm, fragment] of selection.fragments) {
    const found = arms.find(({ name: armName }) => armName === arm);
    if (found === undefined) throw new Error(`Unknown type "${arm}".`);
    const answered = fieldsOf(found, fragment, arm === 'UserOutput' ? output : {});
    if (arm === 'UserOutput') Object.assign(result, answered);
  }
  return result;
}

/** Takes the words of `{ field field { … } ... on Type { … } }` away. */
function readSelection(words: string[]): Selection {
  const selection: Selection = { fields: new Map(), fragments: new Map() };
  if (words.shift() !== '{') throw new Error('Syntax Error: Expected "{".');
  for (let word = words.shift(); word !== '}'; word = words.shift()) {
    if (word === undefined) throw new Error('Syntax Error: Expected "}".');
    if (word === '...') {
      if (words.shift() !== 'on') throw new Error('Syntax Error: Expected "on".');
      selection.fragments.set(words.shift() ?? '', readSelection(words));
    } else if (/^\w/.test(word))
      selection.fields.set(word, words[0] === '{' ? readSelection(words) : undefined);
    else throw new Error(`Syntax Error: Unexpected "${word}".`);
  }
  return selection;
}

function answerOf(of: ObjectType, selection: Selection, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => answerOf(of, selection, item));
  const answered = fieldsOf(of, selection, (value ?? {}) as object);
  return value === null || value === undefined ? null : answered;
}

function fieldsOf(of: ObjectType, { fields, fragments }: Selection, value: object): Record<string, unknown> {
  const [fragment] = fragments.keys();
  if (fragment !== undefined)
    throw new Error(`Fragment cannot be spread here: "${of.name}" is no "${fragment}".`);
  const result: Record<string, unknown> = {};
  for (const [field, selection] of fields) {
    const inner = Object.hasOwn(of.fields, field) ? of.fields[field] : undefined;
    if (inner === undefined) throw new Error(`Cannot query field "${field}" on type "${of.name}".`);
    if ((inner === null) !== (selection === undefined))
      throw new Error(`Field "${field}" must ${inner === null ? 'not ' : ''}have a selection of subfields.`);
    const found = value[field as keyof typeof value] as unknown;
    result[field] =
      inner === null || selection === undefined ? (found ?? null) : answerOf(inner, selection, found);
  }
  return result;
}
