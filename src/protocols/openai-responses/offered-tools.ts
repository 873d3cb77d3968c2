import { refused } from '../../core/errors.ts';
import type { Tool, ToolChoice } from '../../core/turn.ts';
import type { JsonObject } from '../../lib/parse-json.ts';
import { quoted } from '../shared/request.ts';
import {
  customDescription,
  customParameters,
  demandedLeftOut,
  type LeftOutTool,
  requiredTool,
  responsesTools,
  screenText,
  toolKind,
  toolOf,
} from '../shared/tools.ts';
import { type ClientToolKind, clientTools, isClientToolKind } from './client-tools.ts';
import type { AskedTool, InputItem, ReadItem, ResponsesRequest } from './schema.ts';

/** How a call of an offered tool is written in this dialect. */
export interface ToolForm {
  readonly kind: 'function' | 'custom' | 'tool_search' | ClientToolKind;
  readonly name: string;
  readonly namespace?: string;
}

export interface OfferedTools {
  readonly offered: readonly Tool[];
  /** By the name the upstream knows it under. */
  readonly forms: ReadonlyMap<string, ToolForm>;
  /** The names that the upstream knows tools under, by what `callKey` says of a call; of several the first. */
  readonly names: ReadonlyMap<string, string>;
  readonly leftOut: readonly LeftOutTool[];
  /** The first one of each kind; all kinds that are not known here are one. */
  readonly leftOutKinds: ReadonlyMap<keyof typeof responsesTools | undefined, LeftOutTool>;
}

/** A conversation may bring more tools with every turn, but no model can choose among this many. */
const maxOffered = 4_096;

interface OfferedTool extends ToolForm {
  readonly tool: Tool;
}

/**
 * The tools of a request and those that its items bring, now or earlier in the conversation: Codex sends its tools as an
 * item, and a search that the client runs finds further ones.
 */
export function offeredTools(asked: readonly AskedTool[], items: readonly ReadItem[] = []): OfferedTools {
  const offer = new Offer();
  offer.addAll(asked, 'tools');
  for (const { value: item, place } of items) {
    if (item && bringsTools(item)) offer.addAll(item.tools, `${place.path}.tools`);
  }
  return offer.result();
}

export function bringsTools(
  item: InputItem,
): item is Extract<InputItem, { type: 'additional_tools' | 'tool_search_output' }> {
  return item.type === 'additional_tools' || item.type === 'tool_search_output';
}

/** Collects tools under names that are unique. A tool that is offered again replaces the earlier one. */
class Offer {
  readonly #offered = new Map<string, OfferedTool>();
  /** By `callKey`. */
  readonly #names = new Map<string, string>();
  /** The first number that may be free behind a name that is taken. */
  readonly #numbers = new Map<string, number>();
  readonly #leftOut: LeftOutTool[] = [];
  readonly #leftOutKinds = new Map<keyof typeof responsesTools | undefined, LeftOutTool>();

  addAll(tools: readonly AskedTool[], path: string, namespace?: string): void {
    for (const [index, tool] of tools.entries()) this.#add(tool, `${path}.${index}`, namespace);
  }

  result(): OfferedTools {
    return {
      offered: [...this.#offered.values()].map(({ tool }) => tool),
      forms: withOtherNames(this.#offered),
      names: this.#names,
      leftOut: this.#leftOut,
      leftOutKinds: this.#leftOutKinds,
    };
  }

  #add(tool: AskedTool, path: string, namespace: string | undefined): void {
    if (isOf(tool, 'namespace')) {
      this.addAll(tool.tools, `${path}.tools`, tool.name);
    } else if (isOf(tool, 'function')) {
      this.#offer(
        { kind: 'function', name: tool.name },
        path,
        namespace,
        tool.description,
        tool.parameters,
        tool,
      );
    } else if (isOf(tool, 'custom')) {
      const description = customDescription(tool.description, tool.format?.definition);
      this.#offer({ kind: 'custom', name: tool.name }, path, namespace, description, customParameters);
    } else if (isOf(tool, 'tool_search') && tool.execution === 'client') {
      const form = { kind: 'tool_search', name: 'tool_search' } as const;
      this.#offer(
        form,
        path,
        undefined,
        tool.description ?? searchDescription,
        tool.parameters ?? searchParameters,
      );
    } else this.#addTyped(tool, path);
  }

  #addTyped(tool: AskedTool, path: string): void {
    const kind = toolKind(responsesTools, tool.type);
    if (kind === undefined || !isClientToolKind(kind) || isInContainer(tool)) {
      const left = { type: tool.type, path: `${path}.type`, isUnknown: kind === undefined };
      this.#leftOut.push(left);
      if (!this.#leftOutKinds.has(kind)) this.#leftOutKinds.set(kind, left);
      return;
    }
    const { description, parameters } = clientTools[kind];
    this.#offer(
      { kind, name: kind },
      path,
      undefined,
      `${description}${screenText(tool['display_width'], tool['display_height'])}`,
      parameters,
    );
  }

  #offer(
    form: ToolForm,
    path: string,
    namespace: string | undefined,
    description: string | null | undefined,
    parameters: Tool['parameters'] | null | undefined,
    given?: JsonObject,
  ): void {
    const whole = namespace === undefined ? form : { ...form, namespace };
    const name = this.#nameFor(whole);
    const tool = toolOf(name, description, parameters, given);
    this.#offered.set(name, { ...whole, tool });
    if (this.#offered.size > maxOffered) {
      throw refused(path, `is one tool too many: a conversation may bring ${maxOffered}, offer fewer`);
    }
  }

  /** A client's function may have the name of one of the dialect's tools. */
  #nameFor(form: ToolForm): string {
    const key = callKey(form.kind, form.name, form.namespace);
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    const plain = upstreamName(form.name, form.namespace);
    let name = plain;
    let number = this.#numbers.get(plain) ?? 2;
    for (; this.#offered.has(name); number += 1) name = `${plain}_${number}`;
    if (name !== plain) this.#numbers.set(plain, number);
    this.#names.set(key, name);
    return name;
  }
}

/** What tells one form of a tool from another. A tool of the dialect's own is one, whatever its calls are named. */
function callKey(kind: ToolForm['kind'], name: string, namespace?: string | null): string {
  return isClientToolKind(kind) ? kind : JSON.stringify([kind, name, namespace ?? null]);
}

/**
 * Rules and descriptions of a client name the tools of its namespaces as `NAMESPACE.NAME` or by the bare name, and so a
 * model may call them by it.
 */
function withOtherNames(offered: ReadonlyMap<string, ToolForm>): ReadonlyMap<string, ToolForm> {
  const bare = new Map<string, number>();
  for (const { name } of offered.values()) bare.set(name, (bare.get(name) ?? 0) + 1);
  const forms = new Map(offered);
  for (const form of offered.values()) {
    if (form.namespace === undefined) continue;
    const isUnique = bare.get(form.name) === 1;
    for (const name of [`${form.namespace}.${form.name}`, ...(isUnique ? [form.name] : [])]) {
      if (!forms.has(name)) forms.set(name, form);
    }
  }
  return forms;
}

const searchDescription = 'Searches for further tools. The tools it finds can be called from then on.';
const searchParameters = {
  type: 'object',
  properties: { query: { type: 'string', description: 'What the tools should be able to do.' } },
  required: ['query'],
} as const;

/** A shell in a container of the provider's. */
function isInContainer(tool: AskedTool): boolean {
  const environment = tool['environment'];
  const type = typeof environment === 'object' && environment !== null && 'type' in environment;
  return tool.type === 'shell' && type && environment.type !== 'local';
}

/** The name a call in the history has for the upstream. */
export function nameOfCall(
  { names }: OfferedTools,
  kinds: readonly ToolForm['kind'][],
  name: string,
  namespace?: string | null,
): string {
  for (const kind of kinds) {
    const known = names.get(callKey(kind, name, namespace));
    if (known !== undefined) return known;
  }
  return upstreamName(name, namespace);
}

type NamedChoice = { readonly type: string; readonly name?: string | null | undefined };

/** What of the offer may be used: all of it, unless the choice names some. Throws AppError `invalid_request`. */
export function allowedTools(choice: ResponsesRequest['tool_choice'], tools: OfferedTools): readonly Tool[] {
  const allowance = allowanceOf(choice);
  if (allowance === undefined) return tools.offered;
  // They may be left out here, too, while there are others.
  const [left = [], usable = []] = [true, false].map((isLeft) =>
    allowance.named.filter(({ named }) => (leftOutOf(named, tools) !== undefined) === isLeft),
  );
  const chosen = usable.length > 0 ? usable : left;
  const allowed = new Set(chosen.flatMap(({ named, param }) => namesOf(named, tools, param)));
  return tools.offered.filter((tool) => allowed.has(tool.name));
}

/** Throws AppError `invalid_request` for a choice that cannot be kept. */
export function decodeToolChoice(
  choice: NonNullable<ResponsesRequest['tool_choice']>,
  tools: OfferedTools,
): ToolChoice {
  if (typeof choice === 'string') {
    return choice === 'required' ? requiredTool(tools.offered, choice) : { type: choice };
  }
  const allowance = allowanceOf(choice);
  if (allowance) return { type: allowance.mode };
  const [name = ''] = namesOf(choice as NamedChoice, tools, 'tool_choice');
  return { type: 'tool', name };
}

/** A choice of several tools; that of a namespace is one of all its tools. */
function allowanceOf(choice: ResponsesRequest['tool_choice']) {
  if (typeof choice !== 'object' || choice === null) return undefined;
  if (isAllowedTools(choice)) {
    const named = choice.tools.map((tool, index) => ({ named: tool, param: `tool_choice.tools.${index}` }));
    return { mode: choice.mode ?? 'auto', named };
  }
  if (choice.type !== 'namespace') return undefined;
  return { mode: 'required' as const, named: [{ named: choice as NamedChoice, param: 'tool_choice' }] };
}

function isAllowedTools(
  choice: Exclude<NonNullable<ResponsesRequest['tool_choice']>, string>,
): choice is Extract<typeof choice, { type: 'allowed_tools' }> {
  return choice.type === 'allowed_tools';
}

/** The offered tools that a choice names, at least one. Throws AppError `invalid_request`. */
function namesOf(choice: NamedChoice, tools: OfferedTools, param: string): string[] {
  const found = foundTools(choice, tools);
  if (found.length > 0) return found;
  const left = leftOutOf(choice, tools);
  if (left) throw demandedLeftOut(left, param);
  throw refused(param, `names the tool ${quoted(choice.name ?? choice.type)}, which tools does not offer`);
}

function foundTools({ type, name: asked }: NamedChoice, { offered, forms }: OfferedTools): string[] {
  const kind = toolKind(responsesTools, type);
  const isByName = kind === 'function' || kind === 'custom';
  const exact = isByName ? offered.find(({ name }) => name === asked) : undefined;
  if (exact) return [exact.name];
  return offered
    .filter(({ name }) => {
      const form = forms.get(name);
      if (kind === 'namespace') return form?.namespace === asked;
      if (isComputer(type)) return form !== undefined && isComputer(form.kind);
      return isByName ? form?.name === asked : form?.kind === kind;
    })
    .map(({ name }) => name);
}

/** A choice calls each of these tools by any of these names. */
function isComputer(type: string): boolean {
  return type === 'computer' || type === 'computer_use' || type === 'computer_use_preview';
}

/** The tool of the provider, or of an unknown type, that a choice names. */
function leftOutOf(choice: NamedChoice, tools: OfferedTools): LeftOutTool | undefined {
  const kind = toolKind(responsesTools, choice.type);
  if (kind === 'function' || kind === 'custom' || foundTools(choice, tools).length > 0) return undefined;
  const isProviders = kind !== undefined && responsesTools[kind].runBy === 'provider';
  return (
    tools.leftOutKinds.get(kind) ??
    (isProviders ? { type: choice.type, path: '', isUnknown: false } : undefined)
  );
}

/** The one name of a function of a namespace. */
function upstreamName(name: string, namespace: string | null | undefined): string {
  return namespace ? `${namespace}__${name}` : name;
}

function isOf<Type extends string>(tool: AskedTool, type: Type): tool is Extract<AskedTool, { type: Type }> {
  return tool.type === type;
}
