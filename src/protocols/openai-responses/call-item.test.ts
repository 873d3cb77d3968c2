import { expect, it } from 'vitest';
import { resentCall } from './call-item.ts';
import { offeredTools } from './offered-tools.ts';

it('knows how a call comes back, under whatever name the model made it', () => {
  const look = { type: 'function', name: 'look' } as const;
  const tools = offeredTools([{ type: 'namespace', name: 'files', tools: [look] }, { type: 'shell' }]);
  const nameOf = (name: string) => resentCall({ id: 'c', name, arguments: '{"a": 1}' }, tools);
  for (const name of ['files__look', 'files.look', 'look']) {
    expect(nameOf(name)).toEqual({ id: 'c', name: 'files__look', arguments: '{"a": 1}' });
  }
  // No shell: its client gets it as a function.
  expect(nameOf('shell')).toEqual({ id: 'c', name: 'shell', arguments: '{"a": 1}' });
  expect(nameOf('other')).toEqual({ id: 'c', name: 'other', arguments: '{"a": 1}' });
});
