/** Advice on how to make a good key. */
export const howToMakeKey = 'make one with: openssl rand -hex 32';

/** The fewest characters of a key where other machines can try keys. */
export const leastKeyLength = 16;

/** Words that keys of examples consist of; at least one of them says that it is to be replaced. */
const exampleWords =
  /^(?:change|replace|insert|enter|your|example|placeholder|default|sample|dummy|my|the|me|this|here|with|please|admin|pool|gateway|api|secret|key|token|password|pass|value)+\d{0,4}$/;
const toReplace = /change|replace|insert|enter|your|example|placeholder|default|sample|dummy/;
/** What people type where a key is asked for, and what documents mask one with. */
const habits = /^(?:(?:password|passwd|qwerty|letmein)\d{0,4})+$|^\d*1234567\d*$|^(.{0,2})\1*$/;

/** Whether a key is one that anyone would try first. */
export function isPlaceholder(key: string): boolean {
  const text = key.toLowerCase().replace(/[^a-z0-9]/g, '');
  return habits.test(text) || (exampleWords.test(text) && toReplace.test(text));
}
