import { errorMessage } from './errors.ts';

/** Tasks that are awaited at shutdown, not by their callers. Each has to handle its own failures. */
export class BackgroundTasks {
  readonly #running = new Set<Promise<unknown>>();

  get count(): number {
    return this.#running.size;
  }

  add<Task extends Promise<unknown>>(task: Task): Task {
    this.#running.add(task);
    const remove = (): void => void this.#running.delete(task);
    task.then(remove, remove);
    return task;
  }

  /** Resolves when all have ended, those among them that began meanwhile. */
  async ended(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }
}

/** Closes parts one after another. One that fails keeps none of the others from it; throws an AggregateError of all failures. */
export async function closeAll(parts: readonly ({ close(): unknown } | undefined)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const part of parts) {
    try {
      await part?.close();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw new AggregateError(failures, failures.map(errorMessage).join('; '));
}
