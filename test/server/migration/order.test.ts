import { connect } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { blocksOf } from '../../../server/migration/memories.js';
import type { Machine } from '../../../server/machine/machine.js';
import {
  FRAME,
  frameName,
  FrameReader,
  HEADER_BYTES,
  PREAMBLE_BYTES,
} from '../../../server/migration/stream.js';
import { arrive } from '../../support/arrivals.js';
import { eventually, privateFolder } from '../../support/daemon.js';
import { startMachine } from '../../support/machine.js';
import { startHost, statusIs } from '../../support/migration.js';
import { asTwoWay, piecesOf, streamOf, type Piece } from '../../support/mutants.js';
import { record } from '../../support/outlets.js';

const KIB = 1024;
const WORDS = [
  ...['-M', 'pc', '-m', '1M', '-nodefaults'],
  ...['-object', 'memory-backend-ram,id=m,size=64K', '-device', 'iopmem,id=d,memdev=m'],
  ...['-device', 'edu,id=e'],
];

const fill = (machine: Machine, offset: number, length: number, value: number): void => {
  const [ram] = blocksOf(machine);
  ram?.memory().write(BigInt(offset), Buffer.alloc(length, value));
};
const contentsOf = (machine: Machine): Buffer[] =>
  blocksOf(machine).map((block) => {
    const bytes = Buffer.alloc(Number(block.size));
    block.memory().read(0n, bytes);
    return bytes;
  });
/** A machine that is written while it is sent, behind what was sent already. */
const recorded = async (t: Test): Promise<{ stream: Buffer; source: Machine }> => {
  const { machine, run } = await startMachine(t, [...WORDS, '-S']);
  await run('migrate-set-parameters', { 'downtime-limit': 0n, 'max-bandwidth': 1_000_000n });
  fill(machine, 0, 300 * KIB, 0x11);
  fill(machine, 600 * KIB, 8 * KIB, 0x22);
  blocksOf(machine)[1]?.memory().write(8192n, Buffer.alloc(4096, 0x77));
  let passes = 0;
  const stream = await record(machine, (bytes) => {
    const type = bytes.readUInt16LE(0);
    const offset = type === FRAME.PAGES ? bytes.readUInt32LE(HEADER_BYTES + 8) : 0;
    if (type === FRAME.PASS) passes++;
    if (passes === 1 && offset === 600 * KIB) {
      fill(machine, 0, 4096, 0x33);
      fill(machine, 400 * KIB, 8 * KIB, 0x44);
    }
    // The same bytes at another place, and zeros where there were none.
    if (passes === 2 && offset === 400 * KIB) {
      fill(machine, 4096, 4096, 0x33);
      fill(machine, 100 * KIB, 4096, 0);
    }
  });
  t.ok(passes >= 4, 'there are passes to mix up');
  return { stream, source: machine };
};
/** The frames of a stream as they are. */
const framesOf = (stream: Buffer): Buffer[] => {
  const ends: number[] = [];
  const reader = new FrameReader({
    limit: () => 1 << 30,
    onFrame: ({ payload }) =>
      void ends.push((ends.at(-1) ?? PREAMBLE_BYTES) + HEADER_BYTES + payload.length),
  });
  reader.push(stream);
  return ends.map((end, index) => stream.subarray(ends[index - 1] ?? PREAMBLE_BYTES, end));
};

/** @returns why it was refused; undefined when it was not, and the machine is here then */
const refusalOf = async (machine: Machine, stream: Buffer): Promise<string | undefined> => {
  const error = await arrive(machine, [stream]);
  if (error === undefined) return undefined;
  return error instanceof Error ? error.message : String(error);
};
const isEmpty = (machine: Machine): boolean =>
  contentsOf(machine).every((bytes) => bytes.equals(Buffer.alloc(bytes.length)));
const WHERE = /^migration stream: byte \d+, frame \d+: /;

/** Each of the ways in which one or two of `items` can be out of place. */
function* disorders<T>(items: readonly T[]): Generator<[what: string, items: T[]]> {
  for (const [i, one] of items.entries()) {
    yield [`${String(i)} left out`, items.filter((_, at) => at !== i)];
    yield [`${String(i)} twice`, items.flatMap((item, at) => (at === i ? [item, item] : [item]))];
    for (const [j, other] of items.entries())
      if (j > i) {
        const swapped = [...items];
        swapped[i] = other;
        swapped[j] = one;
        yield [`${String(i)} and ${String(j)} exchanged`, swapped];
      }
  }
}

t.test('frames left out, doubled or exchanged: never half a machine', async (t) => {
  const { stream, source } = await recorded(t);
  const { machine } = await startMachine(t, [...WORDS, '-incoming', 'defer']);
  const frames = framesOf(stream);
  const pieces = piecesOf(stream);
  t.equal(frames.length, pieces.length);
  const front = stream.subarray(0, PREAMBLE_BYTES);
  const problems: string[] = [];
  let count = 0;
  const refused = async (what: string, bytes: Buffer): Promise<void> => {
    count++;
    const refusal = await refusalOf(machine, bytes);
    if (!WHERE.test(refusal ?? '')) problems.push(`${what}: ${refusal ?? 'loaded'}`);
    if (!isEmpty(machine)) problems.push(`${what}: something is left`);
  };
  for (const [what, all] of disorders(frames)) await refused(what, Buffer.concat([front, ...all]));
  // Numbered and checked anew, but for what END says of those before.
  for (const [what, all] of disorders(pieces)) {
    const bytes = streamOf(all, { isSealed: false });
    if (!bytes.equals(stream)) await refused(`${what}, renumbered`, bytes);
  }
  t.strictSame(problems, []);
  t.comment(`${String(frames.length)} frames, ${String(count)} disorders`);
  t.equal(await refusalOf(machine, stream), undefined, 'in order it loads');
  t.strictSame(contentsOf(machine), contentsOf(source));
});

const isOf =
  (type: number) =>
  (piece: Piece): boolean =>
    piece.type === type;
const place = (index: number, offset: number, data: Buffer): Buffer => {
  const front = Buffer.alloc(16);
  front.writeUInt32LE(index, 0);
  front.writeBigUInt64LE(BigInt(offset), 8);
  return Buffer.concat([front, data]);
};
const page = (index: number, offset: number): Piece => ({
  type: FRAME.PAGES,
  payload: place(index, offset, Buffer.alloc(4096, 0x99)),
});
const NUMBER = Buffer.alloc(4);
const pass = (number: number): Piece => {
  const payload = Buffer.from(NUMBER);
  payload.writeUInt32LE(number);
  return { type: FRAME.PASS, payload };
};

t.test('what a stream says at a wrong time, though all its checksums are right', async (t) => {
  const { stream } = await recorded(t);
  const pieces = piecesOf(stream);
  const { machine } = await startMachine(t, [...WORDS, '-incoming', 'defer']);
  const at = (type: number): number => pieces.findIndex(isOf(type));
  const lastPass = pieces.findLastIndex(isOf(FRAME.PASS));
  const passes = pieces.filter(isOf(FRAME.PASS)).length;
  const devices = pieces.filter(isOf(FRAME.DEVICE)).length;
  const firstPages = at(FRAME.PAGES);
  const [hello] = pieces;
  const put = (where: number, ...more: (Piece | undefined)[]): Piece[] => [
    ...pieces.slice(0, where),
    ...more.filter((piece) => piece !== undefined),
    ...pieces.slice(where),
  ];
  const without = (...where: number[]): Piece[] => pieces.filter((_, i) => !where.includes(i));
  const RAM = "memory 'ram0' of /machine";
  const OWN = "memory 'memdev' of /machine/peripheral/d";
  for (const [what, all, text] of [
    ['pages before a pass', put(1, page(0, 0)), 'PAGES must not come here: PASS is next'],
    ['a second HELLO', put(1, hello), 'HELLO must not come here: PASS is next'],
    [
      'a device before a pass',
      put(1, pieces[at(FRAME.DEVICE)]),
      'DEVICE must not come here: PASS is next',
    ],
    ['a pass too high', put(1, pass(2)), 'pass 2 is not the next one, which is 1'],
    [
      'a pass twice',
      put(lastPass, pass(passes - 1)),
      `pass ${String(passes - 1)} is not the next one, which is ${String(passes)}`,
    ],
    [
      'the first pages missing',
      without(firstPages),
      `it is about byte 262144 of ${RAM}, but pass 1 has come to byte 0 of ${RAM}`,
    ],
    [
      'the same pages again',
      put(firstPages, pieces[firstPages]),
      `it is about byte 0 of ${RAM}, but pass 1 has come to byte 262144 of ${RAM}`,
    ],
    [
      'a pass before the first one is complete',
      put(firstPages + 1, pass(2)),
      `pass 1 has only come to byte 262144 of ${RAM}`,
    ],
    [
      'pages that come back in a later pass',
      put(lastPass + 1, page(1, 4096), page(1, 0)),
      `it is about byte 0 of ${OWN}, but pass ${String(passes)} has come to byte 8192 of ${OWN}`,
    ],
    [
      'a device before the first pass is complete',
      [...pieces.slice(0, firstPages + 1), ...pieces.slice(at(FRAME.DEVICE))],
      `pass 1 has only come to byte 262144 of ${RAM}`,
    ],
    ['a device left out', without(at(FRAME.DEVICE)), 'it is the state of device 1, not of '],
    [
      'the last device left out',
      without(at(FRAME.PLATFORM) - 1),
      `PLATFORM must not come here: DEVICE ${String(devices - 1)} of ${String(devices)} is next`,
    ],
    [
      'pages between devices',
      put(at(FRAME.DEVICE) + 1, page(1, 0)),
      `PAGES must not come here: DEVICE 1 of ${String(devices)} is next`,
    ],
    [
      'a device too many',
      put(at(FRAME.PLATFORM), pieces[at(FRAME.PLATFORM) - 1]),
      'DEVICE must not come here: PLATFORM is next',
    ],
    [
      'the board twice',
      put(at(FRAME.PLATFORM), pieces[at(FRAME.PLATFORM)]),
      'PLATFORM must not come here: END is next',
    ],
    [
      'END without the board',
      without(at(FRAME.PLATFORM)),
      'END must not come here: PLATFORM is next',
    ],
    [
      'END twice',
      put(pieces.length, pieces.at(-1)),
      'END must not come here: nothing may follow the end',
    ],
    [
      'COMMIT without an answer',
      put(pieces.length, { type: FRAME.COMMIT, payload: Buffer.alloc(0) }),
      'COMMIT must not come here: nothing may follow the end',
    ],
  ] as const)
    await t.test(what, async (t) => {
      const refusal = (await refusalOf(machine, streamOf(all))) ?? 'loaded';
      t.match(refusal, WHERE);
      t.ok(refusal.replace(WHERE, '').startsWith(text), refusal);
      t.equal(isEmpty(machine), true, 'nothing is left');
    });

  await t.test('bytes behind the end', async (t) => {
    const bytes = streamOf(pieces);
    for (const more of [1, 16, 40])
      t.match(
        await refusalOf(machine, Buffer.concat([bytes, Buffer.alloc(more)])),
        more < 16
          ? /the stream ends in the middle of it$/
          : new RegExp(
              `byte ${String(bytes.length)}, .*${frameName(0)} must not come here: nothing`,
            ),
      );
  });
});

t.test('what a source says after COMMIT comes too late to matter', async (t) => {
  const { stream } = await recorded(t);
  const pieces = piecesOf(asTwoWay(stream));
  const commit = pieces.slice(-1);
  for (const [what, more] of [
    ['COMMIT again', commit],
    ['pages', [page(0, 0)]],
  ] as const)
    await t.test(what, async (t) => {
      const path = join(privateFolder(t), 'socket');
      const b = await startHost(t, [...WORDS, '-incoming', 'defer']);
      await b.qmp.execute('migrate-incoming', { uri: `unix:${path}` });
      const socket = connect(path);
      t.teardown(() => socket.destroy());
      const told: number[] = [];
      const reader = new FrameReader({
        limit: () => 1 << 20,
        onFrame: ({ type }) => told.push(type),
      });
      socket.on('data', (bytes) => reader.push(bytes as Buffer));
      socket.write(streamOf([...pieces, ...more]));
      t.strictSame(await statusIs(b.qmp, 'completed'), ['setup', 'active', 'completed']);
      await eventually('it is told', () => told.includes(FRAME.RUNS));
      t.strictSame(told, [FRAME.ACCEPT, FRAME.LOADED, FRAME.RUNS]);
      t.equal(await b.qtest.value('readb 0x1000'), 0x33n);
    });
});
