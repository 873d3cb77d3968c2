import type { Command } from 'commander';
import { formatJson } from '../account/view.ts';
import type { CliActions } from '../actions.ts';

export function addPoolRelease(parent: Command, actions: CliActions): void {
  parent
    .command('release')
    .description('end a session, so that others can have its accounts')
    .argument('<session>', 'its id, as "warp2api pool sessions" shows it')
    .option('--json', 'print {"released": n}')
    .addHelpText(
      'after',
      `
For a program that is gone and holds accounts until its session expires. One that still runs learns that it lost them.

Example:
  warp2api pool release sess_0b6c2d7e-3f1a-4f53-9a53-51a3ff1c1c5e`,
    )
    .action(async (session: string, { json }: { json?: true }) => {
      await using admin = await actions.openAdmin();
      const released = await admin.releaseSession(session);
      actions.write(
        json ? formatJson({ released }) : `The session is over; accounts that came free: ${released}.\n`,
      );
    });
}
