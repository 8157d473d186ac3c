import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { privateFolder } from '../../support/daemon.js';
import { runStatus, startHost, statusIs } from '../../support/migration.js';

const WORDS = ['-M', 'pc', '-m', '8M'];
const MODULES = ['-M', 'pc', '-m', '8M,slots=4,maxmem=64M'];
const CXL = ['-M', 'q35,cxl=on', '-m', '8M', '-device', 'pxb-cxl,id=cxl0,bus_nr=12'];

t.test('a machine of another make is refused before any of it is sent', async (t) => {
  const rom = join(privateFolder(t), 'rom');
  writeFileSync(rom, Buffer.concat([Buffer.from([0x55, 0xaa, 1]), Buffer.alloc(509)]));
  const device = ['-object', 'memory-backend-ram,id=m,size=1M', '-device', 'iopmem,id=d,memdev=m'];
  const other = ['-object', 'memory-backend-ram,id=m,size=2M', '-device', 'iopmem,id=d,memdev=m'];
  const constant = join(privateFolder(t), 'constant');
  writeFileSync(constant, Buffer.alloc(1 << 20, 0x5a));
  const readable = [
    ...['-object', `memory-backend-file,id=m,size=1M,mem-path=${constant},readonly=on`],
    ...['-device', 'iopmem,id=d,memdev=m'],
  ];
  for (const [source, destination, text] of [
    [
      ['-M', 'pc', '-m', '8M'],
      ['-M', 'q35', '-m', '8M'],
      'machine type is pc-i440fx-10.2 at the source and pc-q35-10.2 here',
    ],
    [
      ['-M', 'pc', '-m', '8M'],
      ['-M', 'pc', '-m', '16M'],
      'guest memory is 8388608 at the source and 16777216 here',
    ],
    [[...WORDS, ...device], WORDS, 'there is no iopmem /machine/peripheral/d here'],
    [WORDS, [...WORDS, ...device], 'the source has no iopmem /machine/peripheral/d'],
    [
      [...WORDS, ...device],
      [...WORDS, ...other],
      "property 'BAR 4' of /machine/peripheral/d is 1048576 at the source and 2097152 here",
    ],
    [
      [
        ...MODULES,
        '-object',
        'memory-backend-ram,id=m,size=4M',
        '-device',
        'pc-dimm,id=d,memdev=m',
      ],
      [
        ...MODULES,
        '-object',
        'memory-backend-ram,id=m,size=8M',
        '-device',
        'pc-dimm,id=d,memdev=m',
      ],
      "size of memory 'memdev' of /machine/peripheral/d is 4194304 at the source and 8388608 here",
    ],
    [
      [...WORDS, ...readable],
      [...WORDS, ...device],
      "readonly of memory 'memdev' of /machine/peripheral/d is true at the source and false here",
    ],
    [
      [...WORDS, ...device],
      [...WORDS, ...readable],
      "readonly of memory 'memdev' of /machine/peripheral/d is false at the source and true here",
    ],
    [MODULES, WORDS, "property 'slots' of the board is 4 at the source and 0 here"],
    [
      [...CXL, '-M', 'cxl-fmw.0.targets.0=cxl0,cxl-fmw.0.size=4G'],
      CXL,
      "property 'cxl-fmw.0.targets' of the board is cxl0 at the source and absent here",
    ],
    [
      [...CXL, '-M', 'cxl-fmw.0.targets.0=cxl0,cxl-fmw.0.size=4G'],
      [...CXL, '-M', 'cxl-fmw.0.targets.0=cxl0,cxl-fmw.0.size=8G'],
      "property 'cxl-fmw.0.size' of the board is 4294967296 at the source and 8589934592 here",
    ],
    [
      ['-M', 'q35', '-m', '8M', '-device', 'pxb-pcie,id=p,bus_nr=10'],
      ['-M', 'q35', '-m', '8M', '-device', 'pxb-pcie,id=p,bus_nr=20'],
      "property 'bus_nr' of /machine/peripheral/p is 10 at the source and 20 here",
    ],
    [
      [...WORDS, '-device', `edu,id=e,romfile=${rom}`],
      [...WORDS, '-device', 'edu,id=e'],
      "property 'BAR 6' of /machine/peripheral/e is 2048 at the source and absent here",
    ],
    [
      [...WORDS, '-device', 'edu,id=e'],
      [...WORDS, '-device', 'edu,id=e,addr=7'],
      'place of /machine/peripheral/e is /machine/i440fx/pci.0 2.0 at the source and /machine/i440fx/pci.0 7.0 here',
    ],
    [
      [...WORDS, '-device', 'edu,id=e'],
      [...WORDS, '-device', 'edu,id=e,dma_mask=0xff'],
      "property 'dma_mask' of /machine/peripheral/e is 268435455 at the source and 255 here",
    ],
  ] as const)
    await t.test(text, async (t) => {
      const a = await startHost(t, source);
      const b = await startHost(t, [...destination, '-incoming', 'defer']);
      const uri = `unix:${join(privateFolder(t), 'm')}`;
      await b.qmp.execute('migrate-incoming', { uri });
      await a.qmp.execute('migrate', { uri });
      await statusIs(a.qmp, 'failed');
      t.strictSame(await a.qmp.execute('query-migrate'), {
        status: 'failed',
        'error-desc': `The destination refused: migration stream: byte 16, frame 0: ${text}`,
      });
      t.equal(await runStatus(a), 'running');
      t.equal(await runStatus(b), 'inmigrate');
    });
});
