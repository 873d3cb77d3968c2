import { accessSync, constants, existsSync, readdirSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { closeFolder, isOpenToOthers, opennessOf } from '../lib/files.ts';
import { lowDiskBytes } from '../lib/log/disk-health.ts';
import { type Finding, ok, problem, skipped } from './report.ts';

const mostNamed = 5;

/** Files of secrets in these folders that other users may read. `lookAtFolder` has closed the data folder before, where it could. */
export function lookAtPrivacy(dataDir: string, logDir: string): Finding {
  const name = 'private files';
  const open = [...openFilesIn(dataDir, /\.(db|key)(\b|$)/), ...openFilesIn(logDir, /\.(pid|log)(\.|$)/)];
  if (open.length === 0) return ok(name, `other users cannot read what is in ${dataDir} and ${logDir}`);
  const names = open.slice(0, mostNamed).join(' ');
  const more = open.length > mostNamed ? ` and ${open.length - mostNamed} more` : '';
  return problem(name, `other users may read ${open.length} files; run: chmod go-rwx ${names}${more}`);
}

function openFilesIn(folder: string, pattern: RegExp): string[] {
  if (!isOpenToOthers(folder) || !statSync(folder).isDirectory()) return [];
  return readdirSync(folder)
    .filter((file) => pattern.test(file))
    .map((file) => join(folder, file))
    .filter(isOpenToOthers);
}

export function lookAtFolder(dataDir: string): Finding {
  if (!existsSync(dataDir)) return ok('data folder', `${dataDir} will be made at the first start`);
  if (!statSync(dataDir).isDirectory())
    return problem('data folder', `${dataDir} is a file: set DATA_DIR to a folder`);
  try {
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch {
    return problem(
      'data folder',
      `${dataDir} cannot be written by this user: change its owner, or set DATA_DIR`,
    );
  }
  const advice = closeFolder(dataDir, 'DATA_DIR');
  if (advice !== undefined) return problem('data folder', advice);
  const { bavail, bsize } = statfsSync(dataDir);
  const free = bavail * bsize;
  const shown = `${Math.floor(free / 1024 / 1024)} MB free`;
  if (free < lowDiskBytes) return problem('data folder', `${dataDir} has only ${shown}: make room`);
  return ok('data folder', `${dataDir}, ${shown}`);
}

/** The key file, as far as it can be judged without the store: whether it fits is known once the store is open. */
export function lookAtKeyFile(path: string, isInEnvironment: boolean, fits: boolean | undefined): Finding {
  const name = 'master key';
  const fit = fits === undefined ? 'not tried: the running service holds the database' : 'it fits';
  if (isInEnvironment) return ok(name, `in MASTER_KEY; ${fit}`);
  if (!existsSync(path)) {
    return fits === undefined
      ? skipped(name, `${path} is not on this machine`)
      : ok(name, `${path} will be made at the first start`);
  }
  const openness = opennessOf(path);
  if (openness === 'open') return problem(name, `${path} is open to others; run: chmod 600 ${path}`);
  const remark = openness === 'fixed' ? ', which others may read: mount it with mode 0400 where you can' : '';
  return ok(name, `${path}${remark}; ${fit}`);
}
