/** What a Node process that runs with `--inspect=127.0.0.1:0` tells about its memory. */
export interface Memory {
  /** Bytes of V8's heap in use, after a collection. */
  readonly heapUsed: number;
  /** What V8 holds of the system for its heap. */
  readonly heapTotal: number;
  readonly external: number;
  /** Part of `external`. */
  readonly arrayBuffers: number;
  /** Sockets, timers, threads and other things that keep the process alive. */
  readonly handles: number;
}

interface Reply {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly chunk?: string };
  readonly result?: { readonly result?: { readonly value?: unknown } };
  readonly error?: { readonly message: string };
}

const memoryOf = `JSON.stringify({ ...process.memoryUsage(), handles: process.getActiveResourcesInfo().length })`;

/** One connection to the inspector of a process. */
export class Inspector {
  readonly #socket: WebSocket;
  readonly #pending = new Map<number, { resolve(reply: Reply): void; reject(error: Error): void }>();
  #lastId = 0;
  #onChunk: (chunk: string) => void = () => {};

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => this.#read(JSON.parse(String(data)) as Reply));
    socket.addEventListener('close', () => {
      for (const { reject } of this.#pending.values()) reject(new Error('the inspected process ended'));
    });
  }

  static async connect(url: string): Promise<Inspector> {
    const socket = new WebSocket(url);
    await new Promise<void>((resolve, reject) => {
      socket.addEventListener('open', () => resolve());
      socket.addEventListener('error', () => reject(new Error(`${url} cannot be reached`)));
    });
    return new Inspector(socket);
  }

  /** Collects all garbage first. */
  async memory(): Promise<Memory> {
    // What the first one finds dead may have held other things alive by its finalizers.
    await this.#call('HeapProfiler.collectGarbage');
    await this.#call('HeapProfiler.collectGarbage');
    const reply = await this.#call('Runtime.evaluate', { expression: memoryOf, returnByValue: true });
    return JSON.parse(String(reply.result?.result?.value)) as Memory;
  }

  /** Hands the pieces of a heap snapshot to `write`, for a browser's developer tools. */
  async snapshot(write: (chunk: string) => void): Promise<void> {
    this.#onChunk = write;
    await this.#call('HeapProfiler.takeHeapSnapshot', { reportProgress: false });
  }

  close(): void {
    this.#socket.close();
  }

  #call(method: string, params: object = {}): Promise<Reply> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  #read(reply: Reply): void {
    if (reply.method === 'HeapProfiler.addHeapSnapshotChunk') this.#onChunk(reply.params?.chunk ?? '');
    if (reply.id === undefined) return;
    const call = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (reply.error) call?.reject(new Error(reply.error.message));
    else call?.resolve(reply);
  }
}
