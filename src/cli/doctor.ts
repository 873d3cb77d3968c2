import type { Command } from 'commander';
import { formatJson } from './account/view.ts';
import type { CliActions } from './actions.ts';
import { formatPairs } from './table.ts';

const marks = { ok: 'ok', problem: 'PROBLEM', skipped: '-' } as const;

export function addDoctor(parent: Command, actions: CliActions): void {
  parent
    .command('doctor')
    .description('look at everything a working installation needs, whether or not the services run')
    .option('--answer', 'also ask the gateway for a short answer, which an account pays for')
    .option('--json', 'print {"ok": …, "checks": [...]}')
    .addHelpText('after', '\nExit code 0 when all is well, 1 when something has to be done.')
    .action(async ({ answer, json }: { answer?: true; json?: true }) => {
      const findings = await actions.examine({ wantsAnswer: answer === true });
      const isWell = findings.every(({ result }) => result !== 'problem');
      if (json) actions.write(formatJson({ ok: isWell, checks: findings }));
      else {
        actions.write(
          formatPairs(
            findings.map(({ name, result, message }) => [`${marks[result].padEnd(8)} ${name}`, message]),
          ),
        );
      }
      const count = findings.filter(({ result }) => result === 'problem').length;
      if (count > 0)
        throw new Error(count === 1 ? '1 thing has to be done.' : `${count} things have to be done.`);
    });
}
