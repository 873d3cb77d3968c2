import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { BackgroundTasks } from './tasks.ts';

test('the end is awaited of all tasks, of those that failed and of those that others began', async () => {
  const tasks = new BackgroundTasks();
  const ended: string[] = [];
  const run = async (name: string, then?: () => void): Promise<void> => {
    await delay(1);
    ended.push(name);
    then?.();
  };
  tasks.add(run('first', () => void tasks.add(run('second'))));
  const failing = tasks.add(Promise.reject(new Error('for this test')));
  expect(tasks.count).toBe(2);
  await tasks.ended();
  expect(ended).toEqual(['first', 'second']);
  expect(tasks.count).toBe(0);
  await expect(failing).rejects.toThrow('for this test');
});
