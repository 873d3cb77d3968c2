/** What a client sends to keep the turns of its session together. Anything but a text is no such key, and no fault. */
export function affinityKey(value: unknown): { readonly affinityKey?: string } {
  return typeof value === 'string' && value !== '' ? { affinityKey: value } : {};
}
