import { clone, toBinary } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { type Message, MessageSchema } from './gen/warp_pb.js';
import { type OnUnreadable, readMessage } from './read-message.ts';

type Kind = Message['message']['case'];

interface Glance {
  readonly id: string;
  readonly kind: Kind;
}

const idField = 1;
const kindOf = new Map<number, Kind>(
  MessageSchema.fields.flatMap(({ number, localName, oneof }) =>
    oneof ? [[number, localName as Kind]] : [],
  ),
);

/** A message of a task: the bytes it came as until it is changed, and what they say once something asks. */
export class KeptMessage {
  readonly #bytes: Uint8Array | undefined;
  #message: Message | undefined;
  readonly #glance: Glance | undefined;

  private constructor(bytes: Uint8Array | undefined, message?: Message, glance?: Glance) {
    this.#bytes = bytes;
    this.#message = message;
    this.#glance = glance;
  }

  /** Throws when a field that is needed cannot be read. */
  static read(bytes: Uint8Array, onUnreadable: OnUnreadable): KeptMessage {
    return new KeptMessage(bytes, readMessage(MessageSchema, bytes, onUnreadable));
  }

  /** A message that was read before, in an earlier turn: a glance at its id and kind is nearly always all it takes. */
  static remembered(bytes: Uint8Array): KeptMessage {
    return new KeptMessage(bytes, undefined, glanceAt(bytes));
  }

  static of(message: Message): KeptMessage {
    return new KeptMessage(undefined, message);
  }

  get id(): string {
    return (this.#message ? this.#message.id : this.#glance?.id) ?? '';
  }

  get kind(): Kind {
    return this.#message ? this.#message.message.case : this.#glance?.kind;
  }

  get message(): Message {
    this.#message ??= readMessage(MessageSchema, this.#bytes ?? new Uint8Array());
    return this.#message;
  }

  /** As it came, byte for byte, unless it was changed. */
  encoded(): Uint8Array {
    return this.#bytes ?? toBinary(MessageSchema, this.message);
  }

  /** The message to be changed in place: a copy where the original is still needed. */
  changeable(isOriginalNeeded: boolean): KeptMessage {
    if (!isOriginalNeeded) return this.#bytes ? KeptMessage.of(this.message) : this;
    return KeptMessage.of(
      this.#bytes ? readMessage(MessageSchema, this.#bytes) : clone(MessageSchema, this.message),
    );
  }
}

function glanceAt(bytes: Uint8Array): Glance {
  const reader = new BinaryReader(bytes);
  let id = '';
  let kind: Kind;
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === idField && wireType === WireType.LengthDelimited) id = reader.string();
    else {
      if (wireType === WireType.LengthDelimited) kind = kindOf.get(number) ?? kind;
      reader.skip(wireType, number);
    }
  }
  return { id, kind };
}
