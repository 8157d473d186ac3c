import { ofPlace, size, size32, str, uint16 } from '../core/property.js';

export const DynamicMdeviceProperties = {
  size: size(0x4000_0000n, 'bytes of BAR 2, a power of two'),
  align: size32(
    0x4000_0000,
    'granularity of attachments, a power of two; with both defaults one attachment fills BAR 2',
  ),
  'mem-path': str('file or character device whose memory is attached'),
  'window-offset': ofPlace(size(0n, 'first byte of the host object that may be attached')),
  'window-size': ofPlace(size(0n, 'bytes that may be attached from there on, 0 for no limit')),
  'x-pci-vendor-id': uint16(0x1b00, 'vendor id'),
  'x-pci-device-id': uint16(0x1110, 'device id'),
};
