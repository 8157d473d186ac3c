// Dynamic capacity over one connection: offered, accepted through the mailbox, given back.
import { start } from './programs.mjs';

const BLOCK = 2 << 20;
const OPTIONS = [
  ...['-M', 'q35,cxl=on', '-nodefaults', '-S'],
  ...['-object', 'memory-backend-ram,id=m0,size=4G'],
  ...['-device', 'pxb-cxl,id=cxl.0,bus=pcie.0,bus_nr=52'],
  ...['-device', 'cxl-rp,id=rp0,bus=cxl.0,chassis=0,slot=0'],
  ...['-device', 'cxl-type3,id=d0,bus=rp0,num-dc-regions=1,volatile-dc-memdev=m0'],
];

const requests = (block) => [
  {
    execute: 'cxl-add-dynamic-capacity',
    arguments: {
      ...{ path: 'd0', 'host-id': 0, 'selection-policy': 'prescriptive', region: 0 },
      extents: [{ offset: block * BLOCK, len: BLOCK }],
    },
  },
  { execute: 'guest-cxl-respond', arguments: { id: 'd0', action: 'accept' } },
  {
    execute: 'guest-cxl-release',
    arguments: { id: 'd0', extents: [{ 'start-dpa': block * BLOCK, len: BLOCK }] },
  },
];

/** Rounds of add, accept and release of one extent per second, by how many others are accepted. */
export const capacityRounds = async (dir, rounds = 1000) => {
  const { client, stop } = await start('qmemd', dir, OPTIONS);
  try {
    await client.call({ execute: 'qmp_capabilities' });
    const figures = [];
    let accepted = 0;
    for (const others of [0, 400]) {
      for (; accepted < others; accepted++) {
        const [add, accept] = requests(2 * accepted);
        await client.call(add);
        await client.call(accept);
      }
      const from = performance.now();
      for (let i = 0; i < rounds; i++)
        for (const request of requests(1000)) await client.call(request);
      figures.push({ others, perSecond: (rounds * 1000) / (performance.now() - from) });
    }
    return figures;
  } finally {
    await stop();
  }
};
