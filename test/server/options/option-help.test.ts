import { spawnSync } from 'node:child_process';
import t from 'tap';
import { userDeviceTypes } from '../../../devices/index.js';
import { ObjectType } from '../../../schema/memory.js';
import { parseCommandLine } from '../../../server/options/command-line.js';
import { optionHelp } from '../../../server/options/option-help.js';
import { machineTypes } from '../../../server/machine/machine-types.js';
import { PROGRAM } from '../../support/daemon.js';

/** What the words print. @throws Error when they do not ask for help */
const help = (...words: string[]): string => {
  const invocation = parseCommandLine(words);
  if (invocation.kind !== 'option-help') throw new Error(`${invocation.kind} was asked for`);
  return optionHelp(invocation.request);
};
const asks = (...words: string[]): boolean => parseCommandLine(words).kind === 'option-help';
const linesOf = (text: string): string[] => text.split('\n').slice(0, -1);

t.test('-M help lists what query-machines answers, in the form of QEMU', async (t) => {
  const [title, ...lines] = linesOf(help('-M', 'help'));
  t.equal(title, 'Supported machines are:');
  for (const line of [
    'pc                   Standard PC (i440FX + PIIX, 1996) (alias of pc-i440fx-10.2)',
    'pc-i440fx-10.2       Standard PC (i440FX + PIIX, 1996) (default)',
    'q35                  Standard PC (Q35 + ICH9, 2009) (alias of pc-q35-10.2)',
    'pc-q35-7.2           Standard PC (Q35 + ICH9, 2009)',
    'none                 empty machine',
  ])
    t.equal(lines.includes(line), true, line);
  const names = lines.map((line) => line.split(' ')[0]);
  const told = machineTypes().flatMap(({ alias, name }) => [...(alias ? [alias] : []), name]);
  t.strictSame(names, told);
  for (const words of ['?', 'cxl=on,help', 'no-such,help'])
    t.equal(help('-machine', words), help('-M', 'help'), `as QEMU: ${words}`);
});

t.test('-M TYPE,help tells the properties of the machine', async (t) => {
  const text = help('-M', 'q35,help');
  t.match(text, /^pc-q35-10\.2-machine options:\n/);
  t.match(text, /^ {2}cxl=<bool> {13}- /m);
  t.match(text, /^ {2}usb=<bool> {13}- accepted without effect$/m);
  const none = help('-M', 'help,type=none');
  t.match(none, /^none-machine options:\n/);
  t.notMatch(none, /cxl/);
});

t.test('-device help lists every type that can be made, under headings', async (t) => {
  const text = help('-device', 'help');
  const groups = text.split('\n\n').map((group) => group.split('\n')[0]);
  t.strictSame(groups, [
    'Controller/Bridge/Hub devices:',
    ...['Storage devices:', 'Input devices:', 'Misc devices:', 'Uncategorized devices:'],
  ]);
  t.strictSame(
    [...text.matchAll(/^name "([^"]+)"/gm)].map(([, name]) => name).sort(),
    userDeviceTypes
      .filter(({ abstract }) => abstract !== true)
      .map(({ name }) => name)
      .sort(),
  );
  for (const line of [
    'name "edu", bus PCI',
    'name "isa-serial", bus ISA',
    'name "pc-dimm", desc "DIMM memory module"',
    'name "pxb-pcie", bus PCI, desc "PCI Express Expander Bridge"',
    'name "dynamic-mdevice", bus PCI, alias "dyanmic-mdevice", desc "pci device to dynamically attach memory"',
  ])
    t.equal(linesOf(text).includes(line), true, line);
  for (const words of ['?', 'help,id=x', 'id=x,driver=help'])
    t.equal(help('-device', words), text, words);
});

t.test('-device TYPE,help tells the properties in the columns of QEMU', async (t) => {
  const text = help('-device', 'edu,help');
  const [title, ...lines] = linesOf(text);
  t.equal(title, 'edu options:');
  t.strictSame(lines, [...lines].sort());
  t.match(text, /^ {2}acpi-index=<uint32> {4}- .*\(default: 0\)$/m);
  t.match(text, /^ {2}x-pcie-lnksta-dllla=<bool> - .*\(default: true\)$/m);
  for (const words of ['edu,?', 'driver=edu,help', 'id=x,driver=edu,help', 'edu,help=on'])
    t.equal(help('-device', words), text, words);
  t.match(help('-device', 'dyanmic-mdevice,help'), /^dynamic-mdevice options:\n/);
  t.throws(() => help('-device', 'edu,id=5,help'), {
    message: "-device edu,id=5,help: Parameter 'id' expects an identifier",
  });
  t.throws(() => help('-device', 'foo,help'), {
    message: "-device foo,help: Device 'foo' not found",
  });
  t.throws(() => help('-device', 'pci-device,help'), {
    message: "-device pci-device,help: Parameter 'typename' expects a non-abstract device type",
  });
});

t.test('-object help lists the types, -object TYPE,help their properties', async (t) => {
  const [title, ...names] = linesOf(help('-object', 'help'));
  t.equal(title, 'List of user creatable objects:');
  t.strictSame(
    names,
    ObjectType.values.map((name) => `  ${name}`),
  );
  const text = help('-object', 'memory-backend-ram,help');
  t.match(text, /^memory-backend-ram options:\n/);
  t.match(text, /^ {2}size=<int> {13}- bytes, above 0$/m);
  t.match(text, /^ {2}prealloc-context=<link<thread-context>> - /m);
  t.equal(help('-object', 'rng-builtin,help'), 'There are no options for rng-builtin.\n');
  t.match(help('-object', 'secret,?'), /^ {2}format=<QCryptoSecretFormat> - /m);
  t.throws(() => help('-object', 'foo,help'), {
    message: "-object foo,help: Parameter 'qom-type' does not accept value 'foo'",
  });
});

t.test('-chardev help and -accel help list what can be named there', async (t) => {
  const backends = help('-chardev', 'help');
  t.match(backends, /^Available chardev backend types: \n/);
  t.match(backends, /^ {2}socket$/m);
  t.match(backends, /^ {2}stdio\nTaken as well, with nothing at the far side:\n {2}console$/m);
  t.equal(help('-chardev', 'id=x,backend=?'), backends);
  t.match(help('-chardev', 'socket,help'), /^chardev options:\n {2}abstract=<bool \(on\/off\)>\n/);
  t.equal(help('-accel', 'help'), 'Accelerators supported in QEMU binary:\ntcg\nqtest\n');
});

t.test('an option without effect says that there is nothing of it', async (t) => {
  for (const option of ['-cpu', '-netdev', '-monitor', '--display'])
    for (const word of ['help', '?'])
      t.match(help(option, word), new RegExp(`^${option} \\${word}: .* without effect.*\\n$`));
  t.match(help('-netdev', 'tap,help'), /without effect/);
});

t.test('help asks only where QEMU would take it so', async (t) => {
  for (const name of ['append', 'bios', 'initrd', 'k', 'kernel', 'name', 'D'])
    t.equal(asks(`-${name}`, 'help'), false, name);
  t.equal(asks('-netdev', 'tap,id=help'), false);
  t.equal(asks('-device', '{"driver":"help"}'), false);
  t.throws(() => parseCommandLine(['-qmp', 'help']), /'help' is not a valid char driver/);
});

const real = spawnSync('qemu-system-x86_64', ['-version']).status === 0;
t.test(
  'the lines of QEMU have the same form',
  { skip: real ? false : 'qemu-system-x86_64 is not installed' },
  async (t) => {
    const qemu = (...words: string[]): string[] =>
      linesOf(spawnSync('qemu-system-x86_64', words, { encoding: 'utf8' }).stdout);
    const titles = (lines: readonly string[]) => lines.filter((line) => line.endsWith(':'));
    const common = (words: [string, string]): [string[], string[]] => {
      const [theirs, ours] = [qemu(...words), linesOf(help(...words))];
      return [ours, theirs];
    };
    const [ours, theirs] = common(['-device', 'help']);
    const asked = titles(ours);
    t.strictSame(
      titles(theirs).filter((line) => asked.includes(line)),
      asked,
    );
    for (const line of [
      'name "edu", bus PCI',
      'name "cxl-rp", bus PCI, desc "CXL Root Port"',
      'name "isa-serial", bus ISA',
      'name "pc-dimm", desc "DIMM memory module"',
    ])
      t.strictSame([ours.includes(line), theirs.includes(line)], [true, true], line);
    for (const words of [
      ['-M', 'help'],
      ['-object', 'help'],
      ['-chardev', 'help'],
      ['-accel', 'help'],
      ['-device', 'edu,help'],
      ['-object', 'memory-backend-ram,help'],
    ] as [string, string][]) {
      const [own, other] = common(words);
      t.equal(own[0], other[0], words.join(' '));
    }
    const shape = (lines: readonly string[]) =>
      lines.map((line) => /^ {2}multifunction=<bool> +- /.exec(line)?.[0]).filter(Boolean);
    const [own, other] = common(['-device', 'edu,help']);
    t.strictSame(shape(own), shape(other));
  },
);

t.test('the program prints it, starts nothing and ends with status 0', async (t) => {
  const run = (...words: string[]) =>
    spawnSync(process.execPath, [PROGRAM, ...words], { encoding: 'utf8', timeout: 60_000 });
  t.match(run('-netdev', 'help'), { status: 0, stderr: '', stdout: /^-netdev help: / });
  t.match(run('-device', 'help'), { status: 0, stderr: '', stdout: /^Controller/ });
  t.match(run('-device', 'foo,help'), {
    status: 1,
    stdout: '',
    stderr: "qmemd: -device foo,help: Device 'foo' not found\n",
  });
});
