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

export type Limit = <T>(task: () => Promise<T>) => Promise<T>;

/** Runs tasks, at most `atOnce` at a time, the others in the order they came. */
export function createLimit(atOnce: number): Limit {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (task) => {
    if (running >= atOnce) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}

/** Goes on with a value, at once where there is nothing to wait for: a promise costs more than most of what is done with it. */
export function onceKnown<Value, Result>(
  value: Value | Promise<Value>,
  next: (value: Value) => Result | Promise<Result>,
): Result | Promise<Result> {
  return value instanceof Promise ? value.then(next) : next(value);
}
