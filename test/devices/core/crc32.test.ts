import fc from 'fast-check';
import t from 'tap';
import { crc32, tableCrc32 } from '../../../devices/core/crc32.js';

t.test('is the checksum of zlib and PNG, as a whole and in parts', async () => {
  const bytes = new TextEncoder().encode('123456789');
  t.equal(crc32(bytes), 0xcbf43926);
  t.equal(crc32(bytes.subarray(4), crc32(bytes.subarray(0, 4))), 0xcbf43926);
  t.equal(crc32(new Uint8Array(0)), 0);
});

t.test('where Node has none, the table gives the same', async () => {
  const table = tableCrc32();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat({ max: 300 }), (bytes, cut) => {
      t.equal(table(bytes), crc32(bytes));
      t.equal(table(bytes.subarray(cut), table(bytes.subarray(0, cut))), crc32(bytes));
    }),
  );
});
