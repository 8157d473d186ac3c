import fc from 'fast-check';
import t from 'tap';
import { Replies } from '../../../server/qtest/replies.js';

t.test('a value is told in sixteen digits, whatever it is', (t) => {
  const replies = new Replies();
  const check = (value: bigint): void => {
    replies.value(value);
    const line = `OK 0x${value.toString(16).padStart(16, '0')}\n`;
    if (replies.take().toString('latin1') !== line) throw new Error(line);
  };
  for (const value of [0n, 0x9n, 0xan, 0x0123_4567_89ab_cdefn, 2n ** 64n - 1n]) check(value);
  t.doesNotThrow(() => fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), check)));
  t.end();
});

t.test('lines keep their order across any number of bytes', (t) => {
  const replies = new Replies();
  const long = 'ab'.repeat(40_000);
  replies.text('OK');
  replies.value(5n);
  replies.text(long);
  replies.text('IRQ raise 16');
  const taken = replies.take();
  t.equal(taken.toString('latin1'), `OK\nOK 0x${'5'.padStart(16, '0')}\n${long}\nIRQ raise 16\n`);
  t.equal(replies.length, 0);

  replies.text('FAIL');
  const first = replies.take();
  replies.text('OK');
  t.equal(first.toString('latin1'), 'FAIL\n', 'what was taken does not change');
  t.equal(replies.take().toString('latin1'), 'OK\n');
  t.end();
});

t.test('the buffer grows at its edge and one byte past it', (t) => {
  for (const length of [65_535, 65_536]) {
    const replies = new Replies();
    const line = 'x'.repeat(length);
    replies.text(line);
    t.equal(replies.take().toString('latin1'), `${line}\n`);
  }
  t.end();
});
