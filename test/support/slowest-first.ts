import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The longest first, so that none is left running alone at the end. A fresh checkout has no times of an earlier run. */
const slowest = [
  'test/commands',
  'test/backup',
  'test/turns-page',
  'test/package',
  'test/mission-examples',
  'test/refresh-crash',
  'test/fault-bench',
  'test/refused-keys',
  'test/crash',
  'test/admin-page',
  'test/running-services',
  'test/services',
  'test/key-limits',
  'test/accounts-page',
  'test/ten-accounts',
  'test/admin-journey',
  'test/attacks/bodies',
  'src/pool/accounts/claims',
  'test/traps-streams',
  'test/scenarios',
  'test/doctor',
  'test/dialects-agree',
  'test/logins',
  'test/echoed-secrets',
  'test/gateway-key',
  'test/idempotency',
  'test/python-client',
  'test/scenarios-h2',
  'test/admin-start',
  'src/protocols/warp/hostile-answers',
  'src/pool/store/contract/model.contract',
  'src/pool/store/contract/postgres.contract',
  'src/pool/store/contract/sqlite.contract',
];

export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const placeOf = ({ project, moduleId }: TestSpecification): number => {
      const place = slowest.indexOf(relative(project.config.root, moduleId).replace(/\.test\.ts$/, ''));
      return place === -1 ? slowest.length : place;
    };
    return (await super.sort(files)).toSorted((one, other) => placeOf(one) - placeOf(other));
  }
}
