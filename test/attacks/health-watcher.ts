import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';

/**
 * Asks a service for its health again and again, in a thread whose time nothing else takes. How long it takes is told in the
 * processor time that the service spends meanwhile, in ticks: what else runs on the machine has no part in that.
 */
const { url, pid }: { url: string; pid: number } = workerData;

function ticks(): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

const begunAt = ticks();
let slowest = 0;
const failures: string[] = [];
let isOver = false;
parentPort?.once('message', () => {
  isOver = true;
});
while (!isOver) {
  const at = ticks();
  try {
    const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(60_000) });
    await answer.text();
    if (answer.status !== 200) failures.push(String(answer.status));
  } catch (error) {
    failures.push(String(error));
  }
  slowest = Math.max(slowest, ticks() - at);
  await new Promise((resolve) => setTimeout(resolve, 20));
}
parentPort?.postMessage({ slowest, all: ticks() - begunAt, failures });
