#!/usr/bin/env node
// Runs on any Node since 14. The program itself needs Node 24, so an older Node hands over to the one that the
// npm package `node` has installed beside the program: a checkout always has it, an installed package only where it is
// asked for.
import { spawn } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import module, { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';

const neededMajor = 24;
const script = fileURLToPath(import.meta.url);
const root = dirname(dirname(script));
const isInstalled = root.split(sep).includes('node_modules');
const isService = process.argv[2] === 'serve';
/** Settings of glibc. */
const allocator = { MALLOC_MMAP_THRESHOLD_: String(1024 * 1024), MALLOC_ARENA_MAX: '2' };

if (Number(process.versions.node.split('.')[0]) >= neededMajor) {
  runProgram();
} else {
  handOver();
}

function runProgram() {
  giveMemoryBack();
  boundGarbage();
  optimizeEarly();
  // Node strips no types under node_modules, so an installed package runs what was built.
  const source = join(root, 'src', 'main.ts');
  const runsSource = !isInstalled && existsSync(source);
  // Types are stripped once, not at every start: two seconds and the 30 MB of the stripper.
  if (runsSource) {
    // The variable is for the threads, which do not inherit the cache itself.
    process.env.NODE_COMPILE_CACHE = join(root, 'node_modules', '.cache', 'warp2api');
    module.enableCompileCache(process.env.NODE_COMPILE_CACHE);
  }
  const main = runsSource ? source : join(root, 'dist', 'src', 'main.js');
  import(pathToFileURL(main).href).catch((error) => {
    const isMissing = error?.code === 'ERR_MODULE_NOT_FOUND';
    if (isMissing && !isInstalled) fail(`${error.message}\nSomething is not installed: run npm ci first.`);
    else fail(error?.stack ?? error);
  });
}

/**
 * glibc keeps freed pieces of memory of up to 32 MB once it has seen some, and after a few large requests half a gigabyte of
 * them. From a fixed size on they go back to the system. It also gives each thread an arena of its own, and keeps what V8's
 * compilers have left in each: 30 MB more than two arenas do. And V8's halves for young objects grow to 32 MB each
 * under load and stay so. All this must be set before the process starts. Where the starting script has not set it, the
 * process starts again under the same id, which takes some 150 ms.
 */
function giveMemoryBack() {
  const isSet = Object.keys(allocator).every((name) => process.env[name] !== undefined);
  if (!isService || isSet || process.platform !== 'linux' || !canBeReplaced()) return;
  process.execve(
    process.execPath,
    [process.execPath, ...youngObjects(), ...process.execArgv, ...process.argv.slice(1)],
    environment(),
  );
}

/** V8 lets the heap of a busy process grow to four times what is alive in it before it collects all of it. Here it is twice. */
function boundGarbage() {
  if (!isService) return;
  setFlagsFromString('--heap-growing-percent=100');
  // What a turn makes lives as long as the turn. V8 would make some of it among old objects, from where it keeps what comes after it.
  setFlagsFromString('--no-allocation-site-pretenuring');
  // Little survives of what is young: to wake threads that share the work costs more than it saves.
  setFlagsFromString('--no-parallel-scavenge');
  // Some 200 functions that run once a turn are compiled together. V8 would free what that took after the last of them, up to
  // 45 MB at once, and glibc keeps most of it.
  setFlagsFromString('--no-maglev-destroy-on-background');
}

/**
 * V8's best compiler takes a function only after 3,000 runs from end to end, and most end early: functions that run once a turn
 * waited for 16,000 turns and cost a third more until then. At a turn a second that is four hours.
 */
function optimizeEarly() {
  if (isService) setFlagsFromString('--invocation-count-for-turbofan=500');
}

function environment() {
  return { ...allocator, ...process.env };
}

function youngObjects() {
  const isSet = process.env.NODE_OPTIONS?.includes('semi-space') === true;
  return isService && !isSet ? ['--max-semi-space-size=8'] : [];
}

/** Another program in this process, which keeps its id, its parent and its terminal. A parent that talks to it would lose it. */
function canBeReplaced() {
  return process.execve !== undefined && process.platform !== 'win32' && process.send === undefined;
}

function handOver() {
  const binary = findNode();
  if (binary === undefined || realpathSync(binary) === realpathSync(process.execPath)) {
    const advice = isInstalled
      ? 'Use a newer Node, or let npm bring one: npx -p node@26 -p warp2api warp2api'
      : 'Run npm ci (with install scripts allowed), which brings a newer Node, or use one.';
    fail(`warp2api needs Node ${neededMajor} or newer; this is ${process.version}. ${advice}`);
    return;
  }
  const words = [...youngObjects(), script, ...process.argv.slice(2)];
  if (canBeReplaced()) {
    // It warns that this is new in the older Node.
    process.emitWarning = () => {};
    process.execve(binary, [binary, ...words], environment());
  }
  const child = spawn(binary, words, {
    stdio: 'inherit',
    // A service ends when this process has ended, which may be killed before it can pass a signal on.
    env: { ...environment(), WARP2API_STARTED_BY: String(process.pid) },
  });
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT']) {
    process.on(signal, () => child.kill(signal));
  }
  child.on('error', (error) => fail(`${binary} cannot be started: ${error.message}`));
  child.on('exit', (code, signal) => {
    if (signal === null) {
      process.exitCode = code;
      return;
    }
    // Die of the same signal, so that whoever started this sees what happened.
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

function findNode() {
  try {
    const folder = dirname(createRequire(import.meta.url).resolve('node/package.json'));
    return ['node', 'node.exe'].map((name) => join(folder, 'bin', name)).find((file) => existsSync(file));
  } catch {
    return undefined;
  }
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exitCode = 1;
}
