/** The built-in sandbox has a model for each of its scenarios (sandbox/README.md). What follows is how clients see them. */

/** Answers to every name that is no scenario's. */
export const plainSandboxModel = 'sandbox';

/** What `GET /v1/models` shows of them, in this order: the others are for tests. */
const shown: readonly string[] = [
  plainSandboxModel,
  'sandbox-echo',
  'sandbox-reasoning',
  'sandbox-eager',
  'sandbox-obedient',
  'sandbox-slow',
  'sandbox-429',
  'sandbox-error',
];

/** Names of the README's examples, which the plain model answers to. */
export const exampleNames: readonly string[] = ['auto', 'claude-3-5-sonnet-20241022'];

export function shownOf<Model extends { readonly id: string }>(models: readonly Model[]): Model[] {
  return shown.flatMap((id) => models.find((model) => model.id === id) ?? []);
}

/** The name without the sandbox's own prefix. */
export function bareName(name: string): string {
  return name.startsWith('sandbox/') ? name.slice('sandbox/'.length) : name;
}

/** Whether it may be a scenario's, without asking the sandbox. */
export function isSandboxName(name: string): boolean {
  return name === plainSandboxModel || name.startsWith('sandbox-');
}

/** Whether the sandbox surely has it. `sandbox-burst-500` is `sandbox-burst` with another size. */
export function hasScenario(models: readonly { readonly id: string }[], name: string): boolean {
  const id = name.replace(/^(sandbox-(?:burst|paced))-[1-9]\d{0,5}$/, '$1');
  return isSandboxName(id) && models.some((model) => model.id === id);
}
