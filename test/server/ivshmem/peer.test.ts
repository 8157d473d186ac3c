import { constants } from 'node:os';
import t from 'tap';
import { Peer } from '../../../server/ivshmem/peer.js';
import { READABLE, WRITABLE } from '../../../server/os/native.js';

const { EAGAIN, EPIPE } = constants.errno;
const ETOOMANYREFS = 109;

/** A peer on a socket that takes what `answers` say, then nothing. */
const onSocket = (maxQueue: number, ...answers: number[]) => {
  const sent: string[] = [];
  const gone: string[] = [];
  const done: bigint[] = [];
  const timers: (() => void)[] = [];
  let waitsFor = 0;
  let ready: (status: number, events: number) => void = () => undefined;
  const peer = new Peer({
    fd: 3,
    maxQueue,
    calls: {
      poll: (_fd, events, onReady) => {
        waitsFor = events;
        ready = onReady;
        return { set: (wanted) => void (waitsFor = wanted), close: () => void (waitsFor = 0) };
      },
      sendmsg: (_fd, bytes, fds = []) => {
        const n = answers.shift() ?? -EAGAIN;
        if (n > 0) sent.push(`${Buffer.from(bytes.subarray(0, n)).toString('hex')}:${fds.join()}`);
        return n;
      },
      recvmsg: () => -EAGAIN,
    },
    timer: {
      after: (_ms, fire) => {
        timers.push(fire);
        return () => void timers.splice(timers.indexOf(fire), 1);
      },
    },
    onGone: (reason) => void gone.push(reason),
  });
  peer.start();
  const message = (value: bigint) => ({
    value,
    descriptor: Number(value) + 10,
    done: () => void done.push(value),
  });
  return {
    ...{ peer, sent, gone, done, timers, answers, message },
    waitsFor: () => waitsFor,
    ready: (events: number) => ready(0, events),
  };
};

t.test('the queue holds its limit, and one more ends the client', async (t) => {
  const { peer, gone, done, message, waitsFor } = onSocket(3);
  peer.send([message(1n), message(2n)]);
  peer.send([message(3n)]);
  t.strictSame([gone, waitsFor()], [[], READABLE | WRITABLE]);
  peer.send([message(4n)]);
  t.strictSame(gone, ['it does not read its messages']);
  t.strictSame(done.toSorted(), [1n, 2n, 3n, 4n], 'all are given up');
  peer.send([message(5n)]);
  t.equal(done.length, 5);
});

t.test('a message that leaves in pieces has its descriptor with the first', async (t) => {
  const { peer, sent, answers, message, done, ready, waitsFor } = onSocket(9, 8, 3);
  peer.send([message(1n), message(0x0807060504030201n)]);
  t.strictSame(done, [1n]);
  answers.push(5);
  ready(WRITABLE);
  const wide = Number(0x0807060504030201n) + 10;
  t.strictSame(sent, ['0100000000000000:11', `010203:${String(wide)}`, '0405060708:']);
  t.strictSame([done.length, waitsFor()], [2, READABLE]);
});

t.test('too many descriptors in flight: it waits, without burning the processor', async (t) => {
  const { peer, sent, answers, message, timers, waitsFor } = onSocket(9, -ETOOMANYREFS);
  peer.send([message(1n)]);
  t.strictSame([waitsFor(), timers.length, sent.length], [READABLE, 1, 0]);
  answers.push(8);
  timers[0]?.();
  t.equal(sent.length, 1);
});

t.test('a socket that fails ends the client once', async (t) => {
  const { peer, gone, message, done } = onSocket(9, -EPIPE);
  peer.send([message(1n), message(2n)]);
  peer.close();
  t.strictSame([gone, done], [['its socket failed'], [1n, 2n]]);
});
