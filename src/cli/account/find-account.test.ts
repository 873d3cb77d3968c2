import { expect, it, onTestFinished } from 'vitest';
import { startTestPool, testAccount } from '../../pool/testing/test-pool.ts';
import { UsageError } from '../option-values.ts';
import { findAccount } from './find-account.ts';

const id = (start: string): string => `acc_${start}-0000-4000-8000-000000000000`;
const ann = id('1f3c0001');
const bob = id('1f3c0002');
const eve = id('2aaa0003');

async function poolOfThree() {
  const { pool, store } = await startTestPool();
  onTestFinished(() => pool.close());
  const add = (own: string, change: Parameters<typeof testAccount>[1]) =>
    store.addAccount(0, testAccount(own, change), 'test');
  await add(ann, { email: 'Ann@example.com', label: 'work' });
  await add(bob, { email: 'bob@example.com', label: 'ann@example.com' });
  await add(eve, { email: null, label: '1f3c' });
  return {
    getAccount: async (wanted: string) => (await pool.get(wanted)).account,
    listAccounts: pool.list,
    add,
  };
}

it.for([
  ['its id', ann, ann],
  ['its e-mail address in any case', 'BOB@example.com', bob],
  ['its label', 'work', ann],
  ['how its id begins', '2aaa', eve],
  ['how its id begins, in capitals and with what every id begins with', 'acc_2AAA0003-00', eve],
  ['a label before how an id begins', '1f3c', eve],
] as const)('an account is found by %s', async ([, name, expected]) => {
  expect((await findAccount(await poolOfThree(), name)).id).toBe(expected);
});

it('labels may hold anything, also the whole id of another account, which that one wins', async () => {
  const pool = await poolOfThree();
  for (const [number, label] of [
    'a/b?c=d&e#f%20',
    '日本 "x"',
    '--label',
    `${'x'.repeat(199)}`,
    '%',
    '_',
  ].entries()) {
    const own = id(`3bbb000${number}`);
    await pool.add(own, { email: null, label });
    expect((await findAccount(pool, label)).id).toBe(own);
  }
  await pool.add(id('4ccc0000'), { label: eve });
  expect((await findAccount(pool, eve)).id).toBe(eve);
});

it('several are not chosen from: all are shown', async () => {
  const pool = await poolOfThree();
  const ambiguous = async (name: string, ...ids: string[]) => {
    const error = await findAccount(pool, name).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UsageError);
    for (const one of ids) expect((error as Error).message).toContain(one);
    return (error as Error).message;
  };
  // One's e-mail address is the other's label.
  await ambiguous('ann@example.com', ann, bob);
  await ambiguous('1f3c00', ann, bob);
  for (let number = 10; number < 40; number += 1) await pool.add(id(`5ddd00${number}`), { label: 'team' });
  expect(await ambiguous('team', id('5ddd0010'))).toContain('"team" may be any of more than 10 accounts');
});

it.each(['', ' '])('an empty name is no account, also where there is only one ("%s")', async (name) => {
  await expect(findAccount(await poolOfThree(), name)).rejects.toThrow(/^Name an account: its e-mail/);
});

it.each(['acc_', '1f3', 'acc_1f3', 'nobody', 'Work', 'no@example.com', 'x y', 'ffff'])(
  'says how to find the right name where none is "%s"',
  async (name) => {
    await expect(findAccount(await poolOfThree(), name)).rejects.toThrow(
      `No account has the e-mail address, the label or the id "${name}"; "warp2api account list" shows them all.`,
    );
  },
);
