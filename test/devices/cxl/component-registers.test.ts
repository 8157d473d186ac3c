import t from 'tap';
import {
  ComponentRegisters,
  type ComponentKind,
} from '../../../devices/cxl/component-registers.js';
import { AddressSpace } from '../../../devices/core/address-space.js';

const [STATUS, MASK, SEVERITY] = [0x80, 0x84, 0x88];
const [CORRECTABLE, CORRECTABLE_MASK, CONTROL, LOG] = [0x8c, 0x90, 0x94, 0x98];

const endpoint = (): ComponentRegisters => {
  const component = new ComponentRegisters({ kind: 'endpoint' });
  component.write(MASK, 0);
  component.write(CORRECTABLE_MASK, 0);
  return component;
};
const error = (bit: number, ...header: readonly number[]) => ({ bit, header });

t.test('headers of every component (§3)', async (t) => {
  const headers = (kind: ComponentKind): string[] => {
    const component = new ComponentRegisters({ kind });
    return [0, 4, 8, 0xc, 0x10, 0x14].map((at) => component.read(at).toString(16));
  };
  const [ras, link, hdm] = ['8030002', 'd820004', '12830005'];
  t.strictSame(headers('endpoint'), ['3110001', ras, link, hdm, '0', '0']);
  t.strictSame(headers('upstream'), ['3110001', ras, link, hdm, '0', '0']);
  t.strictSame(headers('downstream'), ['2110001', ras, link, '0', '0', '0']);
  t.strictSame(headers('root-port'), ['5110001', ras, link, '0', '27810006', 'aa010008']);
  t.strictSame(headers('host-bridge'), ['5110001', '0', link, hdm, '27810006', 'aa010008']);
});

t.test('the block: registers at 0x1000, 32 bits at a time', async (t) => {
  const space = new AddressSpace(endpoint().region, 'zeros');
  t.equal(space.read(0x1000n, 4), 0x0311_0001n);
  t.equal(space.read(0x1000n, 8), 0n);
  t.equal(space.read(0x1000n, 2), 0n);
  t.equal(space.read(0n, 4), 0n);
  space.write(0x1088n, 8, 0n);
  t.equal(space.read(0x1088n, 4), 0x1cfffn, 'nor written');
});

t.test('everything is masked after reset (§3.1)', async (t) => {
  const component = endpoint();
  component.reset();
  t.strictSame(
    [STATUS, MASK, SEVERITY, CORRECTABLE, CORRECTABLE_MASK, CONTROL].map((at) =>
      component.read(at),
    ),
    [0, 0x1cfff, 0x1cfff, 0, 0x7f, 0x200],
  );
  t.equal(component.ras?.injectUncorrectable([error(4, 1)]), undefined);
  t.equal(component.ras?.injectCorrectable(2), false);
  t.equal(component.read(STATUS), 0);
  t.equal(component.read(CORRECTABLE), 0);
  component.write(MASK, 0xffff_ffff);
  t.equal(component.read(MASK), 0x1cfff);
});

t.test('uncorrectable errors queue behind the header log', async (t) => {
  const component = endpoint();
  const { ras } = component;
  t.equal(ras?.injectUncorrectable([error(4, 0xaabbccdd, 2), error(0, 7)]), 'fatal');
  component.write(SEVERITY, 0);
  t.equal(ras?.injectUncorrectable([error(16, 9)]), 'non-fatal');
  t.equal(component.read(STATUS), 0x10011);
  t.equal(component.read(CONTROL), 0x204, 'the first one');
  t.strictSame([component.read(LOG), component.read(LOG + 4)], [0xaabbccdd, 2]);
  component.write(STATUS, 0x10);
  t.equal(component.read(STATUS), 0x10001);
  t.equal(component.read(CONTROL), 0x200);
  t.equal(component.read(LOG), 7);
  component.write(STATUS, 0x1ffff);
  t.equal(component.read(STATUS), 0);
  t.equal(component.read(CONTROL), 0x23f, 'points nowhere');
  t.equal(component.read(LOG), 0);
});

t.test('a bit stays while another record of the type waits', async (t) => {
  const component = endpoint();
  component.ras?.injectUncorrectable([error(4, 1), error(4, 2), error(5, 3)]);
  component.write(STATUS, 0x10);
  t.equal(component.read(STATUS), 0x30);
  t.equal(component.read(LOG), 2);
  component.write(STATUS, 0x30);
  t.equal(component.read(STATUS), 0, 'any other value drops all that it names');
});

t.test('correctable errors are cleared by ones; queue and header have an end', async (t) => {
  const component = endpoint();
  const { ras } = component;
  t.equal(ras?.injectCorrectable(2), true);
  t.equal(ras?.injectCorrectable(6), true);
  component.write(CORRECTABLE, 0x4);
  t.equal(component.read(CORRECTABLE), 0x40);
  const many = (count: number) => Array.from({ length: count }, () => error(1));
  t.equal(ras?.injectUncorrectable(many(1024)), 'fatal');
  t.equal(ras?.injectUncorrectable(many(1)), undefined, 'full');
  component.write(STATUS, 0x2);
  t.equal(ras?.injectUncorrectable(many(1)), 'fatal', 'room for one again');
});

t.test('saved and loaded whole, refused when it is of another component', async (t) => {
  const component = endpoint();
  component.ras?.injectUncorrectable([error(4, 0xffff_ffff), error(5)]);
  component.write(0x148, 0x200);
  const saved = component.save();
  const other = new ComponentRegisters({ kind: 'endpoint' });
  other.prepareLoad(saved)();
  const registers = (one: ComponentRegisters): number[] =>
    Array.from({ length: 0x400 }, (_, i) => one.read(4 * i));
  t.strictSame(registers(other), registers(component));
  t.strictSame(other.save(), saved);
  const port = new ComponentRegisters({ kind: 'downstream' });
  t.throws(() => port.prepareLoad(saved), {
    message: 'saved component registers are not those of a downstream',
  });
  for (const bad of [undefined, {}, { decoders: 'x', ras: [] }, { decoders: [-1], ras: [] }])
    t.throws(() => other.prepareLoad(bad), { message: /saved component registers/ });
});
