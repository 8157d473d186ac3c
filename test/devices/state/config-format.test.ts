import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { crc32 } from '../../../devices/core/crc32.js';
import type { DeviceState, StateValue } from '../../../devices/core/device.js';
import { decodeConfig, encodeConfig } from '../../../devices/state/config-format.js';
import { decodeValue, encodeValue, STATE_LIMITS } from '../../../devices/state/value-codec.js';
import { QmpError } from '../../../schema/error.js';

const EDU = { typeName: 'edu', version: 1 };
/** Of a configuration of `edu`: where the payload begins. */
const PAYLOAD = 20;

const text = fc.string({ unit: 'binary' });
const leaf = fc.oneof(
  fc.boolean(),
  fc.double(),
  fc.integer(),
  fc.bigInt(),
  fc.constantFrom(0n, -1n, 255n, 256n, -256n, -257n, (1n << 64n) - 1n, 1n << 2039n, NaN, -0),
  text,
  fc.uint8Array(),
);
const { state } = fc.letrec<{ value: StateValue; state: DeviceState }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.array(tie('value'), { maxLength: 6 }),
    fc.dictionary(fc.oneof(text, fc.constantFrom('__proto__', '', '1')), tie('value'), {
      maxKeys: 6,
      noNullPrototype: true,
    }),
  ),
  state: fc.dictionary(text, tie('value'), { maxKeys: 6, noNullPrototype: true }),
}));

/** The same with the fields of every map in another order. */
const reversed = (value: StateValue): StateValue => {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value instanceof Uint8Array) return value;
  const fields = Object.entries(value).map(([key, item]) => [key, reversed(item)] as const);
  return Object.fromEntries(fields.reverse());
};

/** The text of the refusal of `run`, or undefined when it was taken; anything else fails. */
const refusal = (run: () => unknown): string | undefined => {
  try {
    run();
    return undefined;
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    return error.message;
  }
};
const decode = (bytes: Uint8Array) => () => decodeConfig(EDU, bytes);

/** With the checksum put right. */
const resealed = (bytes: Uint8Array): Uint8Array => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(12, crc32(bytes.subarray(16), crc32(bytes.subarray(0, 12))), true);
  return bytes;
};
const sealedPayload = (payload: Uint8Array): Uint8Array => {
  const empty = encodeConfig(EDU, {});
  const bytes = new Uint8Array(PAYLOAD + payload.length);
  bytes.set(empty.subarray(0, PAYLOAD));
  bytes.set(payload, PAYLOAD);
  new DataView(bytes.buffer).setUint32(8, payload.length, true);
  return resealed(bytes);
};

t.test('every state comes back, and equal states have equal bytes', async () => {
  fc.assert(
    fc.property(state, (saved) => {
      const bytes = encodeConfig(EDU, saved);
      const loaded = decodeConfig(EDU, bytes);
      assert.deepStrictEqual(loaded, saved);
      assert.deepStrictEqual(encodeConfig(EDU, loaded), bytes);
      assert.deepStrictEqual(encodeConfig(EDU, reversed(saved) as DeviceState), bytes);
    }),
    { numRuns: 200 },
  );
});

t.test('the layout is what the format says', async () => {
  const payload = '08' + '01000000' + '0200' + '6f6b' + '01';
  const header = '514d4346' + '0100' + '0100' + '0a000000';
  const bytes = Buffer.from(encodeConfig(EDU, { ok: true }));
  t.equal(bytes.subarray(0, 12).toString('hex'), header);
  t.equal(bytes.subarray(16).toString('hex'), '03' + '656475' + payload);
  t.equal(bytes.readUInt32LE(12), crc32(Buffer.from(header + '03656475' + payload, 'hex')));
});

t.test('every changed byte is found, and every cut', async () => {
  const bytes = encodeConfig(EDU, { a: [1, 2n, -3n, 'text'], b: Uint8Array.of(1, 2, 3), c: false });
  for (let at = 0; at < bytes.length; at++) {
    for (let flip = 1; flip < 256; flip++) {
      const mutated = bytes.slice();
      mutated[at] = (mutated[at] ?? 0) ^ flip;
      if (refusal(decode(mutated)) === undefined) t.fail(`byte ${String(at)} ^ ${String(flip)}`);
    }
    t.match(refusal(decode(bytes.subarray(0, at))), /^state of device type 'edu' at byte \d+: /);
  }
});

t.test('what has a right checksum is refused or taken as it is, never guessed', async () => {
  fc.assert(
    fc.property(
      state,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
      (saved, edits) => {
        const bytes = encodeConfig(EDU, saved);
        for (const [at, value] of edits) bytes[PAYLOAD + (at % (bytes.length - PAYLOAD))] = value;
        resealed(bytes);
        if (refusal(decode(bytes)) !== undefined) return;
        t.strictSame(encodeConfig(EDU, decodeConfig(EDU, bytes)), bytes);
      },
    ),
    { numRuns: 200 },
  );
});

t.test('any bytes are refused or taken, and cost no more than they are', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (payload) => {
      refusal(decode(payload));
      refusal(decode(sealedPayload(payload)));
    }),
    { numRuns: 200 },
  );
});

t.test('refusals name the place and the rule', async () => {
  const good = encodeConfig(EDU, {});
  const at = (offset: number, ...values: number[]): Uint8Array => {
    const bytes = good.slice();
    bytes.set(values, offset);
    return resealed(bytes);
  };
  const payload = (...bytes: number[]): Uint8Array => sealedPayload(Uint8Array.from(bytes));
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(0), 'at byte 0: is no saved configuration of a device'],
    [good.subarray(0, 9), 'at byte 9: ends inside the header'],
    [at(4, 2), 'at byte 4: format version 2 is unknown, known is 1'],
    [at(6, 2), 'at byte 6: state version 2 is unknown, known is 1'],
    [at(8, 6), 'at byte 8: header and payload are 26 bytes, but 25 are there'],
    [at(8, 1, 0, 0, 4), 'at byte 8: payload of 67108865 bytes; at most 67108864 are allowed'],
    [Uint8Array.from([...good.subarray(0, -1), 1]), 'at byte 12: wrong CRC-32'],
    [at(17, 0x0a), "at byte 17: is of device type '\\ndu'"],
    [payload(), 'at byte 20: ends inside a tag'],
    [payload(9), 'at byte 20: unknown tag 9'],
    [payload(1), 'at byte 20: is no map'],
    [payload(8, 1, 0, 0, 0), 'at byte 21: 1 values do not fit what follows'],
    [payload(8, 0, 0, 0, 0, 0), 'at byte 25: 1 bytes too many'],
    [payload(7, 255, 255, 255, 255), 'at byte 21: 4294967295 values do not fit what follows'],
    [payload(5, 2, 0, 0, 0, 65), 'at byte 25: ends inside a text'],
    [payload(5, 1, 0, 0, 0, 0xff), 'at byte 25: a text that is no UTF-8'],
    [payload(3, 2, 1, 0), 'at byte 22: an integer with zeros before it'],
    [payload(2, 1, 0, 0, 0, 0, 0, 0xf8, 0x7f), 'at byte 21: a number that is never written'],
    [payload(8, 2, 0, 0, 0, 1, 0, 98, 0, 1, 0, 97, 0), 'at byte 31: a key out of order'],
    [payload(8, 2, 0, 0, 0, 1, 0, 97, 0, 1, 0, 97, 0), 'at byte 31: a key out of order'],
  ];
  for (const [bytes, reason] of cases)
    t.equal(refusal(decode(bytes)), `state of device type 'edu' ${reason}`);
});

t.test('depth, values and integers are bounded, when written and when read', async () => {
  const nested = (depth: number): StateValue => (depth === 0 ? true : [nested(depth - 1)]);
  t.strictSame(decodeValue(encodeValue(nested(32))), nested(32));
  t.equal(
    refusal(() => encodeValue(nested(33))),
    'a state is at most 32 levels deep',
  );
  const bomb = Uint8Array.from([...Array.from({ length: 33 }, () => [7, 1, 0, 0, 0]).flat(), 1]);
  t.equal(
    refusal(() => decodeValue(bomb)),
    'at byte 160: deeper than 32 levels',
  );

  const list = (count: number): StateValue[] => Array.from({ length: count }, () => false);
  const most = encodeValue(list(STATE_LIMITS.values - 1));
  t.equal((decodeValue(most) as StateValue[]).length, STATE_LIMITS.values - 1);
  t.equal(
    refusal(() => encodeValue(list(STATE_LIMITS.values))),
    'a state has at most 1048576 values',
  );
  const many = new Uint8Array(5 + STATE_LIMITS.values);
  many.set([7, 0, 0, 0x10, 0]);
  t.equal(
    refusal(() => decodeValue(many)),
    'at byte 1048580: more than 1048576 values',
  );

  const large = (1n << 2040n) - 1n;
  t.equal(decodeValue(encodeValue(large)), large);
  t.equal(
    refusal(() => encodeValue(large + 1n)),
    'an integer of a state has at most 255 bytes',
  );
  t.equal(
    refusal(() => encodeValue({ ['k'.repeat(0x10000)]: 1 })),
    'a key of a state has at most 65535 bytes',
  );
  t.equal(
    refusal(() => encodeValue('\ud800')),
    'a text of a state is no Unicode',
  );
});

t.test('is of one device type and one version of its state', async () => {
  const bytes = encodeConfig({ typeName: 'iopmem', version: 3 }, { a: 1n });
  t.strictSame(decodeConfig({ typeName: 'iopmem', version: 3 }, bytes), { a: 1n });
  t.equal(
    refusal(() => decodeConfig({ typeName: 'edu', version: 3 }, bytes)),
    "state of device type 'edu' at byte 17: is of device type 'iopmem'",
  );
  t.equal(
    refusal(() => decodeConfig({ typeName: 'iopmem', version: 2 }, bytes)),
    "state of device type 'iopmem' at byte 6: state version 3 is unknown, known is 2",
  );
});
