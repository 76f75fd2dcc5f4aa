/** Faults of the plugins' processes, and what their operators do to them. */
import type { Brought, World } from './faults.ts';
import type { Fault } from './schedule.ts';

const HOUR_S = 3_600;

/** One plugin; only one that holds its socket across processes can be upgraded without a gap. */
export async function pluginFault(fault: Fault, { nodes }: World): Promise<Brought> {
  const { kind, choice } = fault;
  const plugin = nodes[nodeOf(fault)];
  if (plugin === undefined) throw new Error(`no plugin ${fault.node}`);
  const detail = { node: plugin.index };
  switch (kind) {
    case 'plugin.kill':
      return { detail, act: () => plugin.kill(), takeAway: () => plugin.start() };
    case 'plugin.stop':
      return { detail, act: () => plugin.stop(), takeAway: () => plugin.start() };
    case 'plugin.handover':
      return {
        detail,
        act: async () => {
          await plugin.stop();
          await plugin.start();
        },
      };
    case 'plugin.reload': {
      const watchInterval = choice < 0.5 ? '2s' : '1s';
      const level = choice < 0.25 ? 'debug' : 'info';
      const fields = { health: { watchInterval }, log: { level, format: 'json' } };
      return { detail, act: async () => plugin.reload({ fields, reversed: choice > 0.4 }) };
    }
    case 'plugin.badReload':
      return {
        detail,
        act: async () => plugin.reloadBroken(),
        takeAway: async () => plugin.reload({}),
      };
    case 'plugin.pause':
      return {
        detail,
        act: async () => plugin.pause(),
        takeAway: async () => plugin.resume(),
      };
    case 'plugin.clock': {
      const seconds = Math.round((choice - 0.5) * 6 * HOUR_S);
      return {
        detail: { ...detail, note: `${seconds} s` },
        act: async () => plugin.setClock(seconds),
        takeAway: async () => plugin.setClock(0),
      };
    }
    default:
      throw new Error(`${kind} is no fault of a plugin`);
  }
}

/** Plugin 0 binds its socket itself; the clock of plugin 2 can be set. */
function nodeOf({ kind, node }: Fault): number {
  if (kind === 'plugin.clock') return 2;
  return kind === 'plugin.handover' && node === 0 ? 1 : node;
}
