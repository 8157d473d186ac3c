import { closeSync, existsSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { InheritedDescriptors } from '../../../server/os/inherited-descriptors.js';
import { privateFolder, type Cleanup } from '../../support/daemon.js';

const options = existsSync('/proc/self/fd') ? {} : { skip: 'the host has no /proc' };

const openFile = (t: Cleanup): { path: string; fd: number } => {
  const path = join(privateFolder(t), 'file');
  writeFileSync(path, '');
  return { path, fd: openSync(path, 'r') };
};

t.test('what was open at the start can be taken over once', options, async (t) => {
  const { fd } = openFile(t);
  t.teardown(() => closeSync(fd));
  const inherited = InheritedDescriptors.record();
  t.equal(inherited.numbers.includes(fd), true);
  t.equal(inherited.take(String(fd)), fd);
  t.throws(() => inherited.take(String(fd)), { message: /is not free: only one that the daemon/ });
  t.throws(() => InheritedDescriptors.none().take(String(fd)), { message: /is not free/ });
});

t.test('what the daemon opened or an option names is never given away', options, async (t) => {
  const given = openFile(t);
  const [named, own] = [openSync(given.path, 'r'), openSync(given.path, 'r')];
  const device = openSync('/dev/null', 'r');
  const inherited = InheritedDescriptors.record({ named: [named], own });
  const later = openSync(given.path, 'r');
  t.teardown(() => [named, own, device, later].forEach((fd) => closeSync(fd)));
  t.equal(inherited.numbers.includes(named), true, 'a process in the background gets it');
  t.equal(inherited.numbers.includes(own), false);
  for (const fd of [named, own, later])
    t.throws(() => inherited.take(String(fd)), { class: 'GenericError', message: /is not free/ });
  t.throws(() => inherited.take(String(device)), {
    message: `File descriptor ${String(device)} is neither a socket, a pipe nor a file`,
  });
  closeSync(given.fd);
  t.throws(() => inherited.take(String(given.fd)), {
    message: `File descriptor ${String(given.fd)} is not open`,
  });
  const other = openFile(t);
  t.teardown(() => closeSync(other.fd));
  t.equal(other.fd, given.fd, 'the lowest free number');
  t.throws(() => inherited.take(String(other.fd)), { message: /is not free/ }, 'another object');
});

t.test('what Node opens for itself is not free', options, async (t) => {
  const { fd } = openFile(t);
  t.teardown(() => closeSync(fd));
  const fds = readdirSync('/proc/self/fd').map(Number);
  const { numbers } = InheritedDescriptors.record();
  t.equal(numbers.includes(fd), true);
  t.ok(fds.length - numbers.length > 3, 'pipes and event counters of its loop');
});

t.test('what is no number of a descriptor', async (t) => {
  const inherited = InheritedDescriptors.none();
  for (const text of ['', '3x', 'name', '-1', '2147483648', '0x3'])
    t.throws(() => inherited.take(text), {
      message: `Invalid file descriptor number '${text}'`,
    });
  t.throws(() => inherited.take('2'), {
    message: 'File descriptor 2 is a standard stream: a number from 3 on is expected',
  });
});
