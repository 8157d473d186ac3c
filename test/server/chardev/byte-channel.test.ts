import { closeSync, fstatSync, openSync } from 'node:fs';
import t from 'tap';
import { ByteChannel } from '../../../server/chardev/byte-channel.js';
import { MemoryConnection } from '../../support/memory-connection.js';
import { silent } from '../../support/test-board.js';

const channelOf = (options: { unreadBytes?: number; waiting?: number } = {}): ByteChannel =>
  new ByteChannel({ log: silent, unreadBytes: 1024, waiting: 1, ...options });

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

t.test('nothing is read before the front end listens and after it has gone', async (t) => {
  const channel = channelOf();
  const peer = new MemoryConnection();
  channel.accept(peer);
  t.equal(peer.isPaused, true);
  const { front, heard } = attach(channel);
  t.equal(peer.isPaused, false);
  front.release();
  front.release();
  t.equal(peer.isPaused, true);
  const fd = openSync('/dev/null', 'r');
  peer.feed('late', [fd]);
  t.equal(isOpen(fd), false);
  t.strictSame(heard, ['released']);
  front.open({ data: () => heard.push('data'), closed: () => undefined });
  front.write(Buffer.from('late'));
  t.equal(peer.isPaused, true, 'a released front end does nothing');
  t.strictSame(peer.take(), []);
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
