import fc from 'fast-check';
import t from 'tap';
import { parseCommandLine, type Options } from '../../../server/options/command-line.js';
import { CommandLineError, parseKeyval, parseOpts } from '../../../server/options/keyval.js';

const run = (...words: string[]): Options => {
  const invocation = parseCommandLine(words);
  if (invocation.kind !== 'run') throw new Error(`${invocation.kind} was asked for`);
  return invocation.options;
};
const problem = (message: string) => ({ name: 'CommandLineError', message });

t.test('a bad option is one line with option, value and rule', async (t) => {
  const object = '-object memory-backend-ram,id=a';
  for (const [words, message] of [
    [['-foo'], '-foo: invalid option'],
    [['--foo'], '--foo: invalid option'],
    [['-constructor'], '-constructor: invalid option'],
    [['extra.img'], 'extra.img: an option was expected (there is no block layer)'],
    [['-m'], '-m: requires an argument'],
    [['-m', 'abc'], "-m abc: Parameter 'size' expects a non-negative number below 2^64, not 'abc'"],
    [['-m', '1.3'], "-m 1.3: Parameter 'size' expects a non-negative number below 2^64, not '1.3'"],
    [['-m', '1G,foo=1'], "-m 1G,foo=1: Invalid parameter 'foo'"],
    [
      ['-m', '1G,maxmem=1M'],
      '-m 1G,maxmem=1M: invalid value of maxmem: maximum memory size (0x100000) must be at least the initial memory size (0x40000000)',
    ],
    [['-m', '1G,slots=1'], '-m 1G,slots=1: slots specified but no max-size'],
    [
      ['-m', '1G,slots=1,maxmem=1G'],
      '-m 1G,slots=1,maxmem=1G: invalid value of maxmem: memory slots were specified but maximum memory size (0x40000000) is equal to the initial memory size (0x40000000)',
    ],
    [
      ['-m', '1G,slots=257,maxmem=2G', '-M', 'q35'],
      '-m 1G,slots=257,maxmem=2G: unsupported amount of memory slots: 257',
    ],
    [
      ['-m', '1G,maxmem=2147483649', '-M', 'q35'],
      '-m 1G,maxmem=2147483649: maximum memory size must by aligned to multiple of 4096 bytes',
    ],
    [['-M', 'none,x'], "-M none,x: Expected '=' after parameter 'x'"],
    [
      ['-M', 'nosuch'],
      "-M nosuch: unsupported machine type 'nosuch': none, pc, q35, pc-i440fx-VERSION and pc-q35-VERSION are known",
    ],
    [['-M', 'pc,foo=1'], "-M pc,foo=1: Property 'pc-i440fx-10.2-machine.foo' not found"],
    [['-M', 'pc,usb=maybe'], "-M pc,usb=maybe: Parameter 'usb' expects 'on' or 'off'"],
    [
      ['-M', 'pc,guest-policy=yes'],
      "-M pc,guest-policy=yes: Parameter 'guest-policy' does not accept value 'yes'",
    ],
    [['-uuid', 'abc'], '-uuid abc: failed to parse UUID string: wrong format'],
    [['-name', 'x,foo=1'], "-name x,foo=1: Invalid parameter 'foo'"],
    [['-device', '{"driver":"edu"'], '-device {"driver":"edu": JSON parse error, premature EOI'],
    [['-device', '{} {'], '-device {} {: JSON parse error, one object was expected'],
    [['-device', '{}}'], '-device {}}: JSON parse error, one object was expected'],
    [['-device', '{"a":1,}'], '-device {"a":1,}: JSON parse error, expecting value'],
    [['-device', 'edu,id=1'], "-device edu,id=1: Parameter 'id' expects an identifier"],
    [['-device', 'e,id=a', '-device', 'e,id=a'], "-device e,id=a: Duplicate ID 'a' for device"],
    [
      ['-object', 'memory-backend-ram,id=1'],
      "-object memory-backend-ram,id=1: Parameter 'id' expects an identifier",
    ],
    [
      [...object.split(' ').slice(0, 1), 'memory-backend-ram,id=a,size=abc'],
      `${object},size=abc: Parameter 'size' expects a size value`,
    ],
    [
      ['-object', 'memory-backend-ram,id=a,share=1'],
      `${object},share=1: Parameter 'share' expects 'on' or 'off'`,
    ],
    [
      ['-object', 'memory-backend-ram,id=a,prealloc-threads=x'],
      `${object},prealloc-threads=x: Parameter 'prealloc-threads' expects integer`,
    ],
    [
      ['-object', 'memory-backend-ram,id=a,size.0=1'],
      `${object},size.0=1: Invalid parameter 'size.0'`,
    ],
    [['-global', 'foo'], "-global foo: 'foo' is not DRIVER.PROPERTY=VALUE"],
    [['-chardev', 'socket'], '-chardev socket: chardev: no id specified'],
    [['-chardev', 'nosuch,id=a'], "-chardev nosuch,id=a: 'nosuch' is not a valid char driver name"],
    [
      ['-chardev', 'socket,id=a'],
      "-chardev socket,id=a: a socket needs 'path', 'fd', or 'host' and 'port'",
    ],
    [
      ['-chardev', 'socket,id=a,fd=x'],
      "-chardev socket,id=a,fd=x: 'fd' expects the number of a descriptor, not 'x'",
    ],
    [
      ['-chardev', 'socket,id=a,path=/x,foo=1'],
      "-chardev socket,id=a,path=/x,foo=1: Invalid parameter 'foo'",
    ],
    [
      ['-chardev', 'stdio,id=a', '-chardev', 'stdio,id=a'],
      "-chardev stdio,id=a: Duplicate ID 'a' for chardev",
    ],
    [['-mon', 'foo,mode=control'], '-mon foo,mode=control: chardev "foo" not found'],
    [['-mon', 'foo'], '-mon foo: chardev "foo" not found'],
    [['-mon', 'foo,mode=bad'], "-mon foo,mode=bad: Parameter 'mode' does not accept value 'bad'"],
    [
      ['-chardev', 'pty,id=p', '-mon', 'p,mode=control'],
      `-mon p,mode=control: chardev "p" is of type 'pty': a monitor needs 'socket' or 'stdio'`,
    ],
    [
      ['-chardev', 'stdio,id=p', '-qmp', 'chardev:p', '-qmp', 'chardev:p'],
      '-qmp chardev:p: chardev "p" is in use',
    ],
    [
      ['-qmp', 'foo'],
      "-qmp foo: 'foo' is not a valid char driver: use unix:PATH, tcp:HOST:PORT or stdio",
    ],
    [['-qmp', 'unix:'], "-qmp unix:: a socket needs 'path', 'fd', or 'host' and 'port'"],
    [
      ['-qmp', 'tcp:192.0.2.1:1,server=on'],
      "-qmp tcp:192.0.2.1:1,server=on: a socket that controls the machine may use loopback addresses only, not '192.0.2.1': use --listen with --token-file",
    ],
    [
      ['-qmp', 'unix:/a,wait=off'],
      "-qmp unix:/a,wait=off: 'wait' option is incompatible with socket in client connect mode",
    ],
    [
      ['--qmp', 'stdio', '-qtest', 'stdio'],
      '-qtest stdio: cannot use stdio by multiple character devices',
    ],
    [
      ['-qmp-pretty', 'stdio', '-chardev', 'stdio,id=a'],
      '-qmp-pretty stdio: cannot use stdio by multiple character devices',
    ],
    [['-run-with', 'foo=1'], "-run-with foo=1: Invalid parameter 'foo'"],
    [
      ['--listen', '127.0.0.1'],
      "--listen 127.0.0.1: '127.0.0.1' is not HOST:PORT with a port from 0 to 65535",
    ],
    [
      ['--listen', 'a:65536'],
      "--listen a:65536: 'a:65536' is not HOST:PORT with a port from 0 to 65535",
    ],
    [
      ['--log-level', 'loud'],
      "--log-level loud: 'loud' is none of trace, debug, info, warn, error, silent",
    ],
    [['--limit', 'clients=x'], /^--limit clients=x: limit 'clients' takes an integer from/],
    [['--limit', 'x=1'], /^--limit x=1: limit 'x' is not known/],
  ] as const)
    t.throws(() => run(...words), problem(message as string), words.join(' '));
});

const text = fc.string({ unit: fc.constantFrom('a', 'b', ',', '=', '.', 'é', ' '), maxLength: 8 });
const key = fc.stringMatching(/^[a-z][a-z0-9-]{0,5}$/);

t.test('what was written with doubled commas is read back', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(key, text), { minLength: 1, maxLength: 5 }), (pairs) => {
      const written = pairs.map(([k, v]) => `${k}=${v.replaceAll(',', ',,')}`).join(',');
      t.strictSame(parseOpts(written, 'implied'), pairs);
      t.strictSame(parseKeyval('-x', written, 'implied'), pairs);
    }),
    { numRuns: 200 },
  );
});

t.test('no words whatever end in anything but options or a one-line error', async (t) => {
  const words = fc.constantFrom(
    ...[
      '-M',
      '-m',
      '-device',
      '-object',
      '-qmp',
      '-chardev',
      '-mon',
      '-global',
      '-name',
      '--listen',
    ],
    ...[
      'q35',
      '{',
      '{}',
      ',',
      '=',
      'a=b',
      'socket,id=a,',
      'unix:',
      'no',
      'memory-backend-ram',
      '-',
    ],
    ...['a.0=1,a.2=1', 'host-nodes.1=x', 'accel', '', 'id=,id=', '-S', 'size=1e9', '__proto__=1'],
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(words, text), { maxLength: 6 }), (line) => {
      try {
        parseCommandLine(line);
        return true;
      } catch (error) {
        return error instanceof CommandLineError && !error.message.includes('\n');
      }
    }),
    { numRuns: 1000 },
  );
  t.equal(true, true);
});
