/**
 * Options that describe a guest we do not run: accepted without effect (design §3). True when an
 * argument follows.
 */
export const UNUSED_OPTIONS: Readonly<Record<string, boolean>> = {
  cpu: true,
  smp: true,
  'enable-kvm': false,
  display: true,
  audio: true,
  audiodev: true,
  nographic: false,
  vga: true,
  serial: true,
  parallel: true,
  monitor: true,
  net: true,
  nic: true,
  netdev: true,
  drive: true,
  blockdev: true,
  kernel: true,
  initrd: true,
  append: true,
  bios: true,
  smbios: true,
  usb: false,
  k: true,
  d: true,
  trace: true,
  'no-user-config': false,
  'no-acpi': false,
  'no-reboot': false,
  'no-shutdown': false,
  msg: true,
  sandbox: true,
  boot: true,
  rtc: true,
  overcommit: true,
};

/** Those of them whose argument is a text or a file, also when it reads `help`. */
export const FREE_TEXT: readonly string[] = ['append', 'bios', 'initrd', 'k', 'kernel'];
