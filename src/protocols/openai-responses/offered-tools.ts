import type { Tool, ToolChoice } from '../../core/turn.ts';
import { customDescription, customParameters } from '../custom-tool.ts';
import { quoted, refused } from '../refused.ts';
import { screenText } from '../screen-text.ts';
import { requiredTool } from '../tool-choice.ts';
import { demandedLeftOut, type LeftOutTool, responsesTools, toolKind } from '../tool-table.ts';
import { type ClientToolKind, clientTools, isClientToolKind } from './client-tools.ts';
import type { ReadItem } from './read-items.ts';
import type { AskedTool, InputItem, ResponsesRequest } from './schema.ts';

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
  readonly leftOut: readonly LeftOutTool[];
}

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
  readonly #leftOut: LeftOutTool[] = [];

  addAll(tools: readonly AskedTool[], path: string, namespace?: string): void {
    for (const [index, tool] of tools.entries()) this.#add(tool, `${path}.${index}`, namespace);
  }

  result(): OfferedTools {
    return {
      offered: [...this.#offered.values()].map(({ tool }) => tool),
      forms: withOtherNames(this.#offered),
      leftOut: this.#leftOut,
    };
  }

  #add(tool: AskedTool, path: string, namespace: string | undefined): void {
    if (isOf(tool, 'namespace')) {
      this.addAll(tool.tools, `${path}.tools`, tool.name);
    } else if (isOf(tool, 'function')) {
      this.#offer({ kind: 'function', name: tool.name }, namespace, tool.description, tool.parameters);
    } else if (isOf(tool, 'custom')) {
      const description = customDescription(tool.description, tool.format?.definition);
      this.#offer({ kind: 'custom', name: tool.name }, namespace, description, customParameters);
    } else if (isOf(tool, 'tool_search') && tool.execution === 'client') {
      const form = { kind: 'tool_search', name: 'tool_search' } as const;
      this.#offer(
        form,
        undefined,
        tool.description ?? searchDescription,
        tool.parameters ?? searchParameters,
      );
    } else this.#addTyped(tool, path);
  }

  #addTyped(tool: AskedTool, path: string): void {
    const kind = toolKind(responsesTools, tool.type);
    if (kind === undefined || !isClientToolKind(kind) || isInContainer(tool)) {
      this.#leftOut.push({ type: tool.type, path, isUnknown: kind === undefined });
      return;
    }
    const { description, parameters } = clientTools[kind];
    this.#offer({ kind, name: kind }, undefined, `${description}${screenOf(tool)}`, parameters);
  }

  #offer(
    form: ToolForm,
    namespace: string | undefined,
    description: string | null | undefined,
    parameters: Tool['parameters'] | null | undefined,
  ): void {
    const whole = namespace === undefined ? form : { ...form, namespace };
    const name = this.#nameFor(whole);
    const tool = {
      name,
      ...(description ? { description } : {}),
      parameters: parameters ?? { type: 'object', properties: {} },
    };
    this.#offered.set(name, { ...whole, tool });
  }

  /** A client's function may have the name of one of the dialect's tools. */
  #nameFor(form: ToolForm): string {
    const plain = upstreamName(form.name, form.namespace);
    let name = plain;
    for (let number = 2; ; number += 1) {
      const other = this.#offered.get(name);
      if (other === undefined || isSame(other, form)) return name;
      name = `${plain}_${number}`;
    }
  }
}

/**
 * Rules and descriptions of a client name the tools of its namespaces as `NAMESPACE.NAME` or by the bare name, and so a
 * model may call them by it.
 */
function withOtherNames(offered: ReadonlyMap<string, ToolForm>): ReadonlyMap<string, ToolForm> {
  const bare = [...offered.values()].map(({ name }) => name);
  const isUnique = (name: string) => bare.indexOf(name) === bare.lastIndexOf(name);
  const forms = new Map(offered);
  for (const form of offered.values()) {
    if (form.namespace === undefined) continue;
    for (const name of [`${form.namespace}.${form.name}`, ...(isUnique(form.name) ? [form.name] : [])]) {
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

function isSame(one: ToolForm, other: ToolForm): boolean {
  return one.kind === other.kind && one.name === other.name && one.namespace === other.namespace;
}

/** A shell in a container of the provider's. */
function isInContainer(tool: AskedTool): boolean {
  const environment = tool['environment'];
  const type = typeof environment === 'object' && environment !== null && 'type' in environment;
  return tool.type === 'shell' && type && environment.type !== 'local';
}

function screenOf({
  display_width: width,
  display_height: height,
}: Readonly<Record<string, unknown>>): string {
  return screenText(width, height);
}

/** The name a call in the history has for the upstream. */
export function nameOfCall(
  { forms }: OfferedTools,
  kinds: readonly ToolForm['kind'][],
  name: string,
  namespace?: string | null,
): string {
  for (const [upstream, form] of forms) {
    const isNamed = form.name === name && (form.namespace ?? null) === (namespace ?? null);
    if (kinds.includes(form.kind) && (isNamed || isClientToolKind(form.kind))) return upstream;
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
    return { mode: choice.mode, named };
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
    tools.leftOut.find(({ type }) => type === choice.type || toolKind(responsesTools, type) === kind) ??
    (isProviders ? { type: choice.type, path: '', isUnknown: false } : undefined)
  );
}

/** The one name of a function of a namespace. */
export function upstreamName(name: string, namespace: string | null | undefined): string {
  return namespace ? `${namespace}__${name}` : name;
}

function isOf<Type extends string>(tool: AskedTool, type: Type): tool is Extract<AskedTool, { type: Type }> {
  return tool.type === type;
}
