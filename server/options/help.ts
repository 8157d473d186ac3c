import { UNUSED_OPTIONS } from './unused.js';

const COLUMNS = 99;

/** Words in lines that fit the text. */
const filled = (words: readonly string[]): string => {
  const lines: string[] = [];
  for (const word of words) {
    const last = lines.at(-1);
    if (last !== undefined && `${last} ${word}`.length <= COLUMNS)
      lines.splice(-1, 1, `${last} ${word}`);
    else lines.push(`  ${word}`);
  }
  return lines.join('\n');
};

const unused = Object.keys(UNUSED_OPTIONS)
  .sort()
  .map((name, index, { length }) => `-${name}${index + 1 < length ? ',' : ''}`);

/** What `qmemd -h` prints. */
export const HELP = `usage: qmemd [options]
       qmemd ivshmem-server [options]      shared memory between machines; -h lists its options

Hosts memory devices (CXL pools, PCI memory windows, shared memory) managed over QMP, without a
virtual machine. Options are QEMU's own; one and two dashes mean the same.

Machine
  -M, -machine [type=]none|pc|q35[,guest-policy=manual|accept|reject][,memory-backend=ID]
              [,nvdimm=on][,cxl=on][,cxl-fmw.N.targets.M=ID,cxl-fmw.N.size=SIZE][,accel=qtest]
                          platform (default pc); pc-i440fx-VERSION and pc-q35-VERSION work too
  -m [size=]SIZE[,slots=N,maxmem=SIZE]
                          guest memory, MiB without a suffix (default 128; with -M none 0), and
                          room for memory modules and virtio-mem
  -numa node[,nodeid=N][,memdev=ID]           a NUMA node; other kinds are accepted without effect
  -name NAME, -uuid UUID  what query-name and query-uuid answer
  -object TYPE,id=ID[,PROPERTY=VALUE...]      a memory backend, for example
  -device DRIVER[,id=ID][,PROPERTY=VALUE...]  a device; both also take a JSON object
                          -M, -object or -device help lists types, TYPE,help what can be set
  -global DRIVER.PROPERTY=VALUE               default of a property
  -nodefaults             no VGA and no network card
  -S                      wait for cont before the clock runs
  --preconfig             wait for x-exit-preconfig before board and devices are created
  -incoming URI|defer     wait for a migration: docs/migration.md

Management
  -qmp unix:PATH,server=on[,wait=off]         a QMP socket; connecting (no server=on), stdio and
                                              tcp:HOST:PORT,... on loopback addresses too
  -qmp-pretty ...                             the same, with indented output
  -chardev socket,id=ID,path=PATH|fd=N|host=HOST,port=PORT[,server=on][,wait=off]
                                              a character device; -chardev help lists other types
  -mon chardev=ID,mode=control[,pretty=on]    the same in two steps
  --config FILE           many machines, described in JSON: docs/config.md; HTTP on 127.0.0.1:7710
  --listen HOST:PORT      HTTP pages, and over WebSocket QMP at /qmp and events at /events
                          (off by default)
  --token-file FILE       secret that HTTP and WebSocket clients must show; needed for any address
                          but loopback

Guest side
  -qtest unix:PATH[,server=on][,wait=off]     a socket that speaks qtest: docs/qtest.md; stdio too
  -qtest-log FILE|none    what is received and sent there (default none)
  -accel qtest            the qtest client moves the virtual clock

Process
  -daemonize, -pidfile FILE, -run-with exit-with-parent=on
  -D FILE                 log to FILE instead of stderr
  --log-level LEVEL       trace, debug, info, warn, error or silent (default warn)
  --limit NAME=VALUE      change a limit; docs/reference.md lists them
  --demo                  a machine with a device to play with
  --print-config-schema   print the JSON schema of --config
  --print-reference       print the commands, events and devices as Markdown
  -version
  -h, -help, -?           this text

Options of QEMU that describe a guest or its consoles are accepted without effect, as are human
monitors (-mon without mode=control):
${filled(unused)}
`;
