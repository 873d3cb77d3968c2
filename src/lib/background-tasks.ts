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
