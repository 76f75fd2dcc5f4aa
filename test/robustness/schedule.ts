/** Which faults a run has and when, from a seed alone. Pure. */

/** Faults of one lane follow each other; those of different lanes overlap. */
export const LANES = {
  /** Servers of Vault. */
  vault: {
    gapMs: [8_000, 18_000],
    kinds: {
      'vault.kill': { weight: 3, forMs: [3_000, 8_000] },
      'vault.stop': { weight: 1, forMs: [3_000, 8_000] },
      'vault.pause': { weight: 2, forMs: [2_000, 7_000] },
      'vault.seal': { weight: 2, forMs: [3_000, 8_000] },
      'vault.sealAll': { weight: 1, forMs: [3_000, 8_000] },
    },
  },
  /** Between one plugin and the servers. */
  network: {
    gapMs: [4_000, 10_000],
    kinds: {
      'network.refuse': { weight: 3, forMs: [2_000, 8_000] },
      'network.reset': { weight: 2, forMs: [2_000, 6_000] },
      'network.blackhole': { weight: 2, forMs: [2_000, 6_000] },
      'network.delay': { weight: 2, forMs: [3_000, 8_000] },
      'network.slow': { weight: 1, forMs: [3_000, 8_000] },
      'network.crawl': { weight: 1, forMs: [4_000, 8_000] },
      'network.cutOff': { weight: 1, forMs: [2_000, 6_000] },
    },
  },
  /** What an operator of Vault does to the key. */
  key: {
    gapMs: [6_000, 14_000],
    kinds: {
      'key.rotate': { weight: 4, forMs: [0, 0] },
      'key.minimum': { weight: 2, forMs: [3_000, 6_000] },
      'policy.none': { weight: 1, forMs: [2_000, 6_000] },
      'policy.noDecrypt': { weight: 1, forMs: [2_000, 6_000] },
    },
  },
  /** What a plugin logs in with. */
  credentials: {
    gapMs: [6_000, 14_000],
    kinds: {
      'token.revoke': { weight: 3, forMs: [0, 0] },
      'secret.replace': { weight: 2, forMs: [2_000, 3_000] },
      'role.replace': { weight: 1, forMs: [2_000, 5_000] },
    },
  },
  /** The processes of the plugins. */
  plugin: {
    gapMs: [4_000, 10_000],
    kinds: {
      'plugin.kill': { weight: 2, forMs: [200, 2_000] },
      'plugin.stop': { weight: 2, forMs: [200, 2_000] },
      'plugin.handover': { weight: 4, forMs: [0, 0] },
      'plugin.reload': { weight: 3, forMs: [0, 0] },
      'plugin.badReload': { weight: 1, forMs: [500, 1_500] },
      'plugin.pause': { weight: 1, forMs: [500, 2_500] },
      'plugin.clock': { weight: 2, forMs: [3_000, 8_000] },
    },
  },
  /** Bytes in the store. */
  store: {
    gapMs: [2_000, 6_000],
    kinds: { 'store.damage': { weight: 1, forMs: [4_000, 12_000] } },
  },
} as const satisfies Record<string, Lane>;

type Lane = {
  /** Between the end of one fault and the begin of the next. */
  readonly gapMs: Range;
  readonly kinds: Readonly<Record<string, { readonly weight: number; readonly forMs: Range }>>;
};
type Range = readonly [number, number];

export type LaneName = keyof typeof LANES;
export type FaultKind = { [L in LaneName]: keyof (typeof LANES)[L]['kinds'] }[LaneName] & string;

export type Fault = {
  readonly id: number;
  readonly lane: LaneName;
  readonly kind: FaultKind;
  /** Not before this; later where the fault before it in its lane lasts. */
  readonly atMs: number;
  readonly forMs: number;
  /** One of three plugins. */
  readonly node: number;
  /** One of three servers. */
  readonly server: number;
  /** Which Vault server, where it is chosen by what it is at that time. */
  readonly role: 'active' | 'standby';
  /** In [0, 1), for what else is to be chosen. */
  readonly choice: number;
};

const NODES = 3;
/** Of the faults of a Vault server; a standby that is away must go unnoticed. */
const SHARE_OF_STANDBYS = 0.6;

/** In the order of time; the last one ends before `totalMs`. */
export function scheduleOf(seed: number, totalMs: number): readonly Fault[] {
  const faults = (Object.keys(LANES) as LaneName[]).flatMap((lane, i) =>
    faultsOf(lane, randomOf(seed * 31 + i), totalMs),
  );
  return faults.sort((a, b) => a.atMs - b.atMs).map((fault, id) => ({ ...fault, id }));
}

function faultsOf(name: LaneName, random: () => number, totalMs: number): Omit<Fault, 'id'>[] {
  const lane: Lane = LANES[name];
  const faults: Omit<Fault, 'id'>[] = [];
  for (let atMs = within(lane.gapMs, random); ; ) {
    const kind = pick(lane.kinds, random);
    const forMs = within(lane.kinds[kind]?.forMs ?? [0, 0], random);
    const fault = {
      lane: name,
      kind: kind as FaultKind,
      atMs,
      forMs,
      node: Math.floor(random() * NODES),
      server: Math.floor(random() * NODES),
      role: random() < SHARE_OF_STANDBYS ? ('standby' as const) : ('active' as const),
      choice: random(),
    };
    if (atMs + forMs >= totalMs) return faults;
    faults.push(fault);
    atMs += forMs + within(lane.gapMs, random);
  }
}

function pick(kinds: Lane['kinds'], random: () => number): string {
  const entries = Object.entries(kinds);
  let left = random() * entries.reduce((sum, [, { weight }]) => sum + weight, 0);
  for (const [kind, { weight }] of entries) {
    left -= weight;
    if (left < 0) return kind;
  }
  throw new Error('the weights of a lane are positive');
}

function within([least, most]: Range, random: () => number): number {
  return Math.round(least + random() * (most - least));
}

/** Numbers in [0, 1) that a seed determines: mulberry32. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}
