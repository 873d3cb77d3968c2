import { create, toBinary } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { encoded } from './encoded.ts';
import { AgentOutputSchema, MessageSchema } from './gen/warp_pb.js';
import { KeptMessage } from './memory.ts';

const text = fc.option(fc.string({ unit: 'binary', maxLength: 200 }), { nil: undefined });
const bytes = fc.uint8Array({ maxLength: 20 });
const unknown = fc.array(
  fc.record({
    no: fc.integer({ min: 60, max: 2_000 }),
    wireType: fc.constant(WireType.Bit32),
    data: fc.uint8Array({ minLength: 4, maxLength: 4 }),
  }),
  { maxLength: 2 },
);

it('writes a changed message as its schema does, byte for byte', () => {
  const fields = {
    id: text,
    serverMessageData: text,
    citations: fc.array(bytes, { maxLength: 2 }),
    taskId: text,
    requestId: text,
    timestamp: fc.option(bytes, { nil: undefined }),
  };
  fc.assert(
    fc.property(fc.record(fields), fc.option(text), unknown, unknown, (given, said, inner, outer) => {
      const output = create(AgentOutputSchema);
      if (said !== null && said !== undefined) output.text = said;
      if (inner.length > 0) output.$unknown = inner;
      const message = create(MessageSchema);
      for (const [name, value] of Object.entries(given))
        if (value !== undefined) Object.assign(message, { [name]: value });
      if (said !== null) message.message = { case: 'agentOutput', value: output };
      if (outer.length > 0) message.$unknown = outer;
      const kept = KeptMessage.of(message);
      expect(encoded((writer) => kept.write(writer))).toEqual(toBinary(MessageSchema, message));
    }),
  );
});
