import { parentPort, workerData } from 'node:worker_threads';

/** Asks a service for its health again and again, in a thread whose time nothing else takes. */
const url: string = workerData;
let slowestMs = 0;
const failures: string[] = [];
let isOver = false;
parentPort?.once('message', () => {
  isOver = true;
});
while (!isOver) {
  const at = performance.now();
  try {
    const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(60_000) });
    await answer.text();
    if (answer.status !== 200) failures.push(String(answer.status));
  } catch (error) {
    failures.push(String(error));
  }
  slowestMs = Math.max(slowestMs, performance.now() - at);
  await new Promise((resolve) => setTimeout(resolve, 20));
}
parentPort?.postMessage({ slowestMs, failures });
