import { closeSync, fstatSync, openSync } from 'node:fs';
import t from 'tap';
import { ByteChannel } from '../../../server/chardev/byte-channel.js';
import { MemoryConnection } from '../../support/memory-connection.js';
import { silent } from '../../support/test-board.js';

/** Lets what is due in the next turn happen. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const channelOf = (
  options: { unreadBytes?: number; waiting?: number; heldBytes?: number } = {},
): ByteChannel =>
  new ByteChannel({ log: silent, unreadBytes: 1024, waiting: 1, heldBytes: 4096, ...options });

/** A front end that writes down what it hears. */
const attach = (channel: ByteChannel) => {
  const heard: string[] = [];
  const front = channel.attach(() => heard.push('released'));
  front.open({
    data: (bytes, descriptors) =>
      heard.push(`${Buffer.from(bytes).toString()} ${String(descriptors.length)}`),
    closed: () => heard.push('closed'),
  });
  return { front, heard };
};
const isOpen = (fd: number): boolean => {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
};

t.test('bytes and descriptors reach the front end, what it writes reaches the peer', async (t) => {
  const channel = channelOf();
  const { front, heard } = attach(channel);
  t.equal(front.connected, false);
  front.write(Buffer.from('lost'));
  const peer = new MemoryConnection();
  channel.accept(peer);
  t.equal(front.connected, true);
  const fd = openSync('/dev/null', 'r');
  peer.feed('hello', [fd]);
  t.strictSame(heard, ['hello 1']);
  t.equal(isOpen(fd), true, 'now the listener owns it');
  closeSync(fd);
  front.write(Buffer.from('answer'));
  t.strictSame(peer.take(), ['answer']);
  peer.destroy();
  t.equal(front.connected, false);
  t.strictSame(heard, ['hello 1', 'closed']);
});

t.test('what comes while nobody listens is held for the next front end', async (t) => {
  const channel = channelOf();
  const peer = new MemoryConnection();
  channel.accept(peer);
  const fd = openSync('/dev/null', 'r');
  peer.feed('early', [fd]);
  const { front, heard } = attach(channel);
  t.strictSame(heard, [], 'nothing within open');
  peer.feed('then');
  await settled();
  t.strictSame(heard, ['early 1', 'then 0']);
  t.equal(isOpen(fd), true, 'now the listener owns it');
  closeSync(fd);
  front.release();
  front.release();
  peer.feed('late');
  front.open({ data: () => heard.push('data'), closed: () => undefined });
  front.write(Buffer.from('late'));
  t.strictSame(peer.take(), [], 'a released front end does nothing');
  const next = attach(channel);
  await settled();
  t.strictSame(next.heard, ['late 0']);
  t.strictSame(heard, ['early 1', 'then 0', 'released']);
});

t.test('a peer that leaves while nobody listens makes room', async (t) => {
  const channel = channelOf();
  const [first, second] = [new MemoryConnection(), new MemoryConnection()];
  channel.accept(first);
  channel.accept(second);
  const fd = openSync('/dev/null', 'r');
  first.feed('lost', [fd]);
  first.client.onEnd();
  t.equal(first.state, 'destroyed');
  t.equal(isOpen(fd), false);
  second.feed('heard');
  const { heard } = attach(channel);
  await settled();
  t.strictSame(heard, ['heard 0']);
  second.client.onEnd();
  t.equal(channel.connected, false);
});

t.test('what came before the end is heard before the end', async (t) => {
  const channel = channelOf();
  const peer = new MemoryConnection();
  channel.accept(peer);
  peer.feed('last');
  const { heard } = attach(channel);
  peer.destroy();
  t.strictSame(heard, ['last 0', 'closed']);
});

t.test('a peer waits from the limit of what is held on', async (t) => {
  for (const [bytes, descriptors, isPaused] of [
    [2047, 0, false],
    [2048, 0, true],
    [1023, 1, false],
    [1024, 1, true],
    [1, 2, true],
  ] as const) {
    const channel = channelOf({ heldBytes: 2048 });
    const peer = new MemoryConnection();
    channel.accept(peer);
    const fds = Array.from({ length: descriptors }, () => openSync('/dev/null', 'r'));
    peer.feed(Buffer.alloc(bytes), fds);
    t.equal(peer.isPaused, isPaused, `${String(bytes)} bytes, ${String(descriptors)} descriptors`);
    const { front, heard } = attach(channel);
    await settled();
    t.equal(heard.length, 1);
    t.equal(peer.isPaused, false);
    fds.forEach(closeSync);
    front.release();
  }
});

t.test('further peers wait up to the limit; one more is closed', async (t) => {
  const channel = channelOf({ waiting: 1 });
  const { heard } = attach(channel);
  const [first, second, third] = [1, 2, 3].map(() => new MemoryConnection());
  for (const peer of [first, second, third]) if (peer !== undefined) channel.accept(peer);
  t.strictSame([first?.state, second?.state, third?.state], ['open', 'open', 'destroyed']);
  first?.client.onEnd();
  t.equal(first?.state, 'destroyed');
  second?.feed('next');
  t.strictSame(heard, ['closed', 'next 0']);
});

t.test('a peer that reads nothing is disconnected past the limit', async (t) => {
  // The connection counts a line end of two bytes for each write.
  const channel = channelOf({ unreadBytes: 18 });
  const { front, heard } = attach(channel);
  const peer = new MemoryConnection();
  channel.accept(peer);
  peer.reads = false;
  front.write(Buffer.alloc(16));
  t.equal(peer.state, 'open');
  front.write(Buffer.alloc(1));
  t.equal(peer.state, 'destroyed');
  t.strictSame(heard, ['closed']);
});

t.test('closing ends the peer and those that wait', async (t) => {
  const channel = channelOf();
  const peers = [new MemoryConnection(), new MemoryConnection(), new MemoryConnection()];
  for (const peer of peers.slice(0, 2)) channel.accept(peer);
  channel.close();
  channel.close();
  for (const peer of peers.slice(2)) channel.accept(peer);
  t.strictSame(
    peers.map(({ state }) => state),
    ['ended', 'destroyed', 'destroyed'],
  );
});
