// What tests see and do of the sandbox's connections.
import type { Certificate } from './certificate.ts';
import type { SandboxConnection } from './connections.ts';
import type { Listeners } from './listeners.ts';

export interface TransportStats {
  /** Since the start, also those no longer in `connections`. */
  readonly connections: number;
  readonly open: number;
  readonly h2: number;
  /** The most streams that one session had open at a time, and the most chat turns. */
  readonly mostOpen: number;
  readonly mostTurnsOpen: number;
}

/** By then the answer to the call has left. */
const answeredMs = 50;

export class SandboxTransport {
  readonly #listeners: Listeners;
  readonly #certificate: Certificate | undefined;

  constructor(listeners: Listeners, certificate: Certificate | undefined) {
    this.#listeners = listeners;
    this.#certificate = certificate;
  }

  /** The PEM a client has to trust. Undefined without TLS. */
  get certificate(): string | undefined {
    return this.#certificate?.certificate;
  }

  /** The last 1,000 connections, oldest first. */
  get connections(): readonly SandboxConnection[] {
    return this.#listeners.connections.list;
  }

  stats(): TransportStats {
    const { list, open } = this.#listeners.connections;
    const most = (read: (connection: SandboxConnection) => number): number =>
      list.reduce((highest, connection) => Math.max(highest, read(connection)), 0);
    return {
      connections: list.at(-1)?.id ?? 0,
      open: open.length,
      h2: list.filter(({ protocol }) => protocol === 'h2').length,
      mostOpen: most(({ mostOpen }) => mostOpen),
      mostTurnsOpen: most(({ mostTurnsOpen }) => mostTurnsOpen),
    };
  }

  /** Destroys this connection, or a random one of those with a request running; answers its id. */
  destroySession(id?: number): number | undefined {
    const open = this.#listeners.connections.open;
    const found =
      id === undefined ? anyOf(open.filter(({ open: busy }) => busy > 0)) : open.find((one) => one.id === id);
    found?.destroy();
    return found?.id;
  }

  /** Sends a graceful GOAWAY on this session, or on all. */
  goAway(id?: number): void {
    for (const connection of this.#listeners.connections.open) {
      if (id === undefined || connection.id === id) connection.goAway();
    }
  }

  /** This connection, or all, answer nothing any more, not even a PING. */
  freeze(id?: number): void {
    for (const connection of this.#listeners.connections.open) {
      if (id === undefined || connection.id === id) connection.freeze();
    }
  }

  /** An outage: every connection is destroyed, new ones are refused until `startListening`. */
  stopListening(): Promise<void> {
    return this.#listeners.stop();
  }

  startListening(): Promise<void> {
    return this.#listeners.start();
  }

  /** An outage of so long, which begins once the call that asks for it is answered. */
  outage(forMs: number): void {
    setTimeout(() => {
      void this.stopListening();
      // Unreferenced: an outage keeps no process alive.
      setTimeout(() => void this.startListening(), forMs).unref();
    }, answeredMs).unref();
  }
}

function anyOf<Item>(items: readonly Item[]): Item | undefined {
  return items[Math.floor(Math.random() * items.length)];
}
