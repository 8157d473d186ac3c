import t from 'tap';
import { HostError } from '../../../devices/core/host-memory.js';
import type { HostMapping, HostMemoryService } from '../../../devices/core/host-memory.js';
import { addOptionRom } from '../../../devices/pci/option-rom.js';
import { AUTOMATIC_ROM_SIZE } from '../../../devices/pci/properties.js';
import { ArrayMemory, fakeFunction, fakeRoot } from '../../support/pci.js';

const unused = (): never => {
  throw new Error('not used');
};
const unusedMapping = { flush: unused, allocate: unused, bindNodes: unused, advise: unused };

/** A host with one file, `rom`, of the given bytes; counts what is open. */
const host = (bytes: Uint8Array) => {
  let open = 0;
  const mapping = (size: bigint): ArrayMemory & HostMapping => {
    open++;
    return Object.assign(new ArrayMemory(Number(size)), {
      ...unusedMapping,
      close: () => void open--,
    });
  };
  const service: HostMemoryService = {
    create: unused,
    createUnnamed: unused,
    adopt: unused,
    pageSize: 4096n,
    anonymous: ({ size }) => mapping(size),
    open: (path) => {
      if (path !== 'rom') throw new HostError('ENOENT', 'No such file or directory');
      open++;
      return {
        path,
        fd: -1,
        kind: 'regular',
        length: () => BigInt(bytes.length),
        resize: unused,
        punchHole: unused,
        unlink: unused,
        map: (_offset, size) => {
          const source = mapping(size);
          source.bytes.set(bytes);
          return source;
        },
        close: () => void open--,
      };
    },
  };
  return { service, open: () => open };
};
const properties = { romfile: 'rom', romsize: AUTOMATIC_ROM_SIZE, rombar: -1 };

t.test(
  'the ROM is a copy of the file in a BAR of a power of two, given back at the end',
  async (t) => {
    const bytes = new Uint8Array(5000).fill(0x55);
    const { service, open } = host(bytes);
    const fn = fakeFunction();
    addOptionRom(fn, service, properties);
    t.strictSame(
      fn.bars.map(({ index, size }) => [index, size]),
      [[6, 8192n]],
    );
    t.equal(open(), 1);
    fakeRoot().bus.attach(fn, 8);
    fn.writeConfig(4, 2, 2);
    fn.writeBar(6, 0, 1, 0n);
    t.strictSame([fn.readBar(6, 4999, 1), fn.readBar(6, 5000, 1)], [0x55n, 0n]);
    fn.close();
    t.equal(open(), 0);
  },
);

t.test('no file, or no BAR for it, gives no ROM', async (t) => {
  for (const change of [{ romfile: undefined }, { romfile: '' }, { rombar: 0 }]) {
    const fn = fakeFunction();
    addOptionRom(fn, host(new Uint8Array(1)).service, { ...properties, ...change });
    t.strictSame(fn.bars, []);
  }
});

t.test('a file that is no ROM is refused and left alone', async (t) => {
  for (const [bytes, change, text] of [
    [1, { romfile: 'nofile' }, 'failed to find romfile "nofile"'],
    [0, {}, 'romfile "rom" is empty'],
    [5000, { romsize: 4096 }, 'romfile "rom" (5000 bytes) is too large for ROM size 4096'],
  ] as const) {
    const { service, open } = host(new Uint8Array(bytes));
    const fn = fakeFunction();
    t.throws(() => addOptionRom(fn, service, { ...properties, ...change }), {
      class: 'GenericError',
      message: text,
    });
    t.strictSame([open(), fn.bars], [0, []]);
  }
  const fn = fakeFunction();
  fakeRoot().bus.attach(fn, 8, { hotplugged: true });
  t.throws(() => addOptionRom(fn, host(new Uint8Array(1)).service, { ...properties, rombar: 0 }), {
    class: 'GenericError',
    message: "Hot-plugged device without ROM bar can't have an option ROM",
  });
});
