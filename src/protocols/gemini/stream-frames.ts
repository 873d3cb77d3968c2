import { createParser, type EventSourceParser } from 'eventsource-parser';

/** How the responses of one stream follow one another: as server-sent events, or as the elements of a JSON array. */
export interface StreamFrames {
  /** Keeps an idle stream alive without saying anything. */
  readonly keepAlive: string;
  frame(response: string): string;
  /** What an upstream of this dialect sent as server-sent events. */
  relay(events: string): string;
  /** After the last response. */
  end(): string;
}

export const eventFrames: StreamFrames = {
  keepAlive: '\n',
  frame: (response) => `data: ${response}\n\n`,
  relay: (events) => events,
  end: () => '',
};

/** For one answer: its choices share the array. */
export class ArrayFrames implements StreamFrames {
  readonly keepAlive = '\n';
  #isBegun = false;
  #relayed = '';
  readonly #parser: EventSourceParser = createParser({
    onEvent: ({ data }) => {
      this.#relayed += this.frame(data);
    },
  });

  frame(response: string): string {
    const before = this.#isBegun ? ',\n' : '[';
    this.#isBegun = true;
    return before + response;
  }

  relay(events: string): string {
    this.#parser.feed(events);
    const framed = this.#relayed;
    this.#relayed = '';
    return framed;
  }

  end(): string {
    return this.#isBegun ? ']\n' : '[]\n';
  }
}
