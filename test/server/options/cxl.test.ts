import t from 'tap';
import { parseCommandLine } from '../../../server/options/command-line.js';

const cxlOf = (...machine: readonly string[]) => {
  const invocation = parseCommandLine(machine.flatMap((words) => ['-M', words]));
  if (invocation.kind !== 'run') throw new Error('nothing runs');
  return invocation.options.machines[0]?.cxl;
};
const GiB = 1n << 30n;

t.test('cxl=on with windows, merged over options (reference/cxl.md §1.3)', async (t) => {
  t.equal(cxlOf('q35'), undefined);
  t.strictSame(cxlOf('q35,cxl=on'), { windows: [] });
  t.strictSame(
    cxlOf(
      'q35,cxl=on',
      'cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.targets.1=cxl.1,cxl-fmw.0.size=4G',
      'cxl-fmw.1.size=256M,cxl-fmw.1.interleave-granularity=4k,cxl-fmw.1.targets.0=cxl.1',
    ),
    {
      windows: [
        { targets: ['cxl.0', 'cxl.1'], size: 4n * GiB, granularity: undefined },
        { targets: ['cxl.1'], size: GiB / 4n, granularity: 4096n },
      ],
    },
  );
  t.equal(cxlOf('q35,cxl=on,cxl=off'), undefined, 'the last one counts');
  t.equal(cxlOf('q35,cxl-fmw.0.targets.0=a,cxl-fmw.0.size=4G'), undefined, 'read but not used');
  t.strictSame(cxlOf('pc,cxl=on'), { windows: [] });
});

t.test('texts of bad windows', async (t) => {
  const targets = (count: number): string =>
    Array.from({ length: count }, (_, i) => `cxl-fmw.0.targets.${String(i)}=a`).join(',');
  const rows: readonly (readonly [words: string, reason: string])[] = [
    [`${targets(5)},cxl-fmw.0.size=4G`, 'Interleave ways: 5 not supported'],
    [
      `${targets(1)},cxl-fmw.0.size=100M`,
      'Size of a CXL fixed memory window must be a multiple of 256MiB',
    ],
    [
      `${targets(1)},cxl-fmw.0.size=4G,cxl-fmw.0.interleave-granularity=100`,
      'Interleave granularity: 100 invalid',
    ],
    [targets(1), "Parameter 'cxl-fmw.0.size' is missing"],
    ['cxl-fmw.0.size=4G', "Parameter 'cxl-fmw.0.targets' is missing"],
    ['cxl-fmw.1.targets.0=a,cxl-fmw.1.size=4G', "Parameter 'cxl-fmw.0' missing"],
    ['cxl-fmw.0.targets.1=a,cxl-fmw.0.size=4G', "Parameter 'cxl-fmw.0.targets.0' missing"],
    [`${targets(1)},cxl-fmw.0.size=xx`, "Parameter 'cxl-fmw.0.size' expects size"],
    [
      `${targets(1)},cxl-fmw.0.size=4G,cxl-fmw.0.bogus=1`,
      "Parameter 'cxl-fmw.0.bogus' is unexpected",
    ],
    ['cxl-fmw=1', "Invalid parameter type for 'cxl-fmw', expected: array"],
    ['cxl-fmw.x=1', "Invalid parameter type for 'cxl-fmw', expected: array"],
    ['cxl=maybe', "Parameter 'cxl' expects 'on' or 'off'"],
  ];
  for (const [words, reason] of rows)
    t.throws(() => cxlOf(`q35,cxl=on,${words}`), { message: `-M q35,cxl=on,${words}: ${reason}` });
  t.throws(() => cxlOf('none,cxl=on'), { message: /Property 'none-machine.cxl' not found/ });
});
