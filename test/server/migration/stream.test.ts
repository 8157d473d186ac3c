import t from 'tap';
import { crc32 } from '../../../devices/core/crc32.js';
import {
  FRAME,
  FrameReader,
  FrameWriter,
  HEADER_BYTES,
  PREAMBLE_BYTES,
  preamble,
  StreamError,
} from '../../../server/migration/stream.js';

interface Seen {
  readonly type: number;
  readonly text: string;
}

const read = (pieces: readonly Buffer[], limit = 100): Seen[] => {
  const seen: Seen[] = [];
  const reader = new FrameReader({
    limit: (type) => (type === FRAME.RUNS ? undefined : limit),
    onFrame: ({ type, payload }) => void seen.push({ type, text: payload.toString() }),
  });
  for (const piece of pieces) reader.push(piece);
  reader.end();
  return seen;
};
const refusal = (bytes: Buffer, limit?: number): string => {
  try {
    read([bytes], limit);
    return 'none';
  } catch (error) {
    return error instanceof StreamError ? error.message : String(error);
  }
};

const good = (): Buffer => {
  const writer = new FrameWriter();
  return Buffer.concat([
    preamble(),
    writer.frame(FRAME.HELLO, Buffer.from('hello')),
    writer.frame(FRAME.COMMIT),
    writer.frame(FRAME.END, Buffer.from('x'.repeat(100))),
  ]);
};
const FRAMES: Seen[] = [
  { type: FRAME.HELLO, text: 'hello' },
  { type: FRAME.COMMIT, text: '' },
  { type: FRAME.END, text: 'x'.repeat(100) },
];

t.test('frames come back, however they arrive', async (t) => {
  const bytes = good();
  t.strictSame(read([bytes]), FRAMES);
  t.strictSame(read([...bytes].map((byte) => Buffer.from([byte]))), FRAMES, 'byte by byte');
  for (let cut = 0; cut <= bytes.length; cut++)
    t.strictSame(read([bytes.subarray(0, cut), bytes.subarray(cut)]), FRAMES);
});

t.test('a frame as the documentation has it', async (t) => {
  const frame = new FrameWriter().frame(FRAME.PASS, Buffer.from([1, 0, 0, 0]));
  t.equal(frame.subarray(0, 12).toString('hex'), '040000000000000004000000');
  t.equal(frame.readUInt32LE(12), crc32(Buffer.from('04000000000000000400000001000000', 'hex')));
  t.equal(preamble().toString('latin1'), 'QMEMDMIG\x01\0\0\0\0\0\0\0');
});

t.test('every byte counts', async (t) => {
  const bytes = good();
  for (let at = 0; at < bytes.length; at++) {
    const damaged = Buffer.from(bytes);
    damaged[at] = (damaged[at] ?? 0) ^ 0x10;
    t.match(refusal(damaged), /^migration stream: byte \d+, frame \d+: /, `byte ${String(at)}`);
  }
});

t.test('the text says where and what', async (t) => {
  const bytes = good();
  const change = (at: number, value: number): Buffer => {
    const damaged = Buffer.from(bytes);
    damaged.writeUInt32LE(value, at);
    return damaged;
  };
  const first = PREAMBLE_BYTES;
  const second = first + HEADER_BYTES + 5;
  for (const [what, damaged, text] of [
    ['magic', change(0, 0), 'byte 0, frame 0: this is no migration stream of qmemd'],
    ['version', change(8, 2), 'byte 0, frame 0: stream version 2 is not 1'],
    ['type', change(first, FRAME.RUNS), 'byte 16, frame 0: RUNS must not come here'],
    ['unknown type', change(second, 99), 'byte 37, frame 1: the checksum of type 99 is wrong'],
    ['number', change(second + 4, 7), 'byte 37, frame 1: its number is 7'],
    [
      'length',
      change(first + 8, 101),
      'byte 16, frame 0: HELLO of 101 bytes is above the limit of 100',
    ],
    [
      'payload',
      change(first + HEADER_BYTES, 0),
      'byte 16, frame 0: the checksum of HELLO is wrong',
    ],
    [
      'end',
      bytes.subarray(0, bytes.length - 1),
      'byte 53, frame 2: the stream ends in the middle of it',
    ],
  ] as const)
    t.equal(refusal(damaged), `migration stream: ${text}`, what);
});

t.test('the limit of a frame: at it and one past it', async (t) => {
  t.equal(refusal(good(), 100), 'none');
  t.match(refusal(good(), 99), /END of 100 bytes is above the limit of 99/);
});
