import { arr, bool, enumeration, int, lazy, object, opt, str, union, type Type } from './lang.js';

/**
 * What `query-block` and `query-named-block-nodes` would tell of a disk image, if there were one:
 * clients generate code from these types.
 *
 * @see reference/qmp-protocol.md §8.3
 */

const SnapshotInfo = object('SnapshotInfo', {
  id: str('number of the snapshot'),
  name: str('name of the snapshot'),
  'vm-state-size': int('int', 'bytes of the state of the machine'),
  'date-sec': int('int', 'when it was taken: seconds since 1970'),
  'date-nsec': int('int', 'nanoseconds on top of them'),
  'vm-clock-sec': int('int', 'seconds of the clock of the machine'),
  'vm-clock-nsec': int('int', 'nanoseconds on top of them'),
  icount: opt(int('int', 'instructions run until then')),
});

const HashAlgorithm = enumeration(
  'QCryptoHashAlgorithm',
  ['md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'ripemd160'],
  'Hash function.',
);
const ImageInfoLuks = object('QCryptoBlockInfoLUKS', {
  'cipher-alg': enumeration(
    'QCryptoCipherAlgorithm',
    [
      ...(['aes-128', 'aes-192', 'aes-256', 'des', '3des', 'cast5-128'] as const),
      ...(['serpent-128', 'serpent-192', 'serpent-256'] as const),
      ...(['twofish-128', 'twofish-192', 'twofish-256'] as const),
    ],
    'Cipher.',
  ),
  'cipher-mode': enumeration(
    'QCryptoCipherMode',
    ['ecb', 'cbc', 'xts', 'ctr'],
    'How blocks are chained.',
  ),
  'ivgen-alg': enumeration(
    'QCryptoIVGenAlgorithm',
    ['plain', 'plain64', 'essiv'],
    'How initialization vectors are made.',
  ),
  'ivgen-hash-alg': opt(HashAlgorithm),
  'hash-alg': HashAlgorithm,
  'payload-offset': int('int', 'byte at which the data starts'),
  'master-key-iters': int('int', 'rounds for the master key'),
  uuid: str('UUID of the header'),
  slots: arr(
    object('QCryptoBlockInfoLUKSSlot', {
      active: bool('whether it holds a key'),
      iters: opt(int('int', 'rounds')),
      stripes: opt(int('int', 'stripes of the key')),
      'key-offset': int('int', 'byte at which it lies'),
    }),
    'the key slots',
  ),
});

const Qcow2BitmapInfo = object('Qcow2BitmapInfo', {
  name: str('name of the bitmap'),
  granularity: int('uint32', 'bytes that one bit stands for'),
  flags: arr(
    enumeration('Qcow2BitmapInfoFlags', ['in-use', 'auto'], 'State of a bitmap.'),
    'its flags',
  ),
});
const ImageInfoQcow2 = object('ImageInfoSpecificQCow2', {
  compat: str('version of the format'),
  'data-file': opt(str('file that holds the data')),
  'data-file-raw': opt(bool('whether that file can be read without this one')),
  'extended-l2': opt(bool('whether clusters have parts')),
  'lazy-refcounts': opt(bool('whether reference counts are written late')),
  corrupt: opt(bool('whether it is marked as damaged')),
  'refcount-bits': int('int', 'bits of a reference count'),
  encrypt: opt(
    union('ImageInfoSpecificQCow2Encryption', {
      base: {
        format: enumeration('BlockdevQcow2EncryptionFormat', ['aes', 'luks'], 'Encryption.'),
      },
      discriminator: 'format',
      branches: { luks: ImageInfoLuks },
    }),
  ),
  bitmaps: opt(arr(Qcow2BitmapInfo, 'bitmaps that the file keeps')),
  'compression-type': enumeration(
    'Qcow2CompressionType',
    ['zlib', 'zstd'],
    'How clusters are compressed.',
  ),
});

/** An image may have a backing image, and extents that are images. */
const imageAgain = lazy((): Type => ImageInfo, 'an image');
const ImageInfoVmdk = object('ImageInfoSpecificVmdk', {
  'create-type': str('kind of the image'),
  cid: int('int', 'content id'),
  'parent-cid': int('int', 'content id of the parent'),
  extents: arr(imageAgain, 'the files it is made of'),
});
const ImageInfoRbd = object('ImageInfoSpecificRbd', {
  'encryption-format': opt(
    enumeration('RbdImageEncryptionFormat', ['luks', 'luks2'], 'Encryption.'),
  ),
});
const ImageInfoSpecific = union('ImageInfoSpecific', {
  base: {
    type: enumeration(
      'ImageInfoSpecificKind',
      ['qcow2', 'vmdk', 'luks', 'rbd'],
      'Format with details of its own.',
    ),
  },
  discriminator: 'type',
  branches: {
    qcow2: object('ImageInfoSpecificQCow2Wrapper', { data: ImageInfoQcow2 }),
    vmdk: object('ImageInfoSpecificVmdkWrapper', { data: ImageInfoVmdk }),
    luks: object('ImageInfoSpecificLUKSWrapper', { data: ImageInfoLuks }),
    rbd: object('ImageInfoSpecificRbdWrapper', { data: ImageInfoRbd }),
  },
});

/** A disk image. */
export const ImageInfo = object('ImageInfo', {
  filename: str('name of the file'),
  format: str('format of the image'),
  'dirty-flag': opt(bool('whether it was not closed cleanly')),
  'actual-size': opt(int('int', 'bytes on the disk of the host')),
  'virtual-size': int('int', 'bytes that the guest sees'),
  'cluster-size': opt(int('int', 'bytes of a cluster')),
  encrypted: opt(bool('whether it is encrypted')),
  compressed: opt(bool('whether it is compressed')),
  'backing-filename': opt(str('file behind it, as it is written down')),
  'full-backing-filename': opt(str('the same with its folder')),
  'backing-filename-format': opt(str('format of that file')),
  snapshots: opt(arr(SnapshotInfo, 'snapshots within the image')),
  'backing-image': opt(imageAgain),
  'format-specific': opt(ImageInfoSpecific),
});
