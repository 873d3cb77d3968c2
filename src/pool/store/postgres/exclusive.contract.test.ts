import { join } from 'node:path';
import { expect, it } from 'vitest';
import { systemClock } from '../../../lib/clock.ts';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { testAccount } from '../../testing/test-pool.ts';
import { rotateKey } from '../../upkeep/rotate-key.ts';
import { openVault } from '../../vault/open-vault.ts';
import { credentialField } from '../../vault/vault.ts';
import { openStore } from '../open-store.ts';
import { freshDatabase } from '../testing/postgres-database.ts';

const options = { clock: systemClock, onLost() {} };

it('a PostgreSQL database is rotated to another key only while no other process has it open', async () => {
  const url = await freshDatabase();
  const place = { defaultKeyFile: join(temporaryFolder(), 'master.key') };
  const service = await openStore(url, options);
  const other = await openStore(url, options);
  const vault = await openVault({ store: service, ...place, now: 0 });
  const credential = {
    sealed: vault.seal('acc_1', credentialField, 'wk-secret'),
    fingerprint: vault.fingerprint('warp', 'wk-secret'),
    hint: '****',
  };
  await service.addAccount(0, testAccount('acc_1', { credential }), 'test');
  await expect(openStore(url, { ...options, exclusive: true })).rejects.toMatchObject({
    code: 'database_in_use',
  });
  await service.close();
  await expect(openStore(url, { ...options, exclusive: true })).rejects.toThrow(
    new RegExp(`in use by .*, process ${process.pid}: stop every service`),
  );
  expect(await other.holders()).toEqual([expect.stringContaining(`, process ${process.pid}`)]);
  await other.close();

  const alone = await openStore(url, { ...options, exclusive: true });
  await expect(openStore(url, options)).rejects.toThrow(/, process \d+ has .* for itself/);
  await rotateKey({ store: alone, vault, place, now: 0, actor: 'test' });
  await alone.close();
  const again = await openStore(url, options);
  const opened = await openVault({ store: again, ...place, now: 0 });
  const { secrets } = await again.sealedSecrets(0, 10);
  expect(secrets.map((one) => opened.open(one.accountId, credentialField, one.credential))).toEqual([
    'wk-secret',
  ]);
  await again.close();
});
