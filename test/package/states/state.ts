/**
 * The states in which a package operation may find a node, as data, and what must come of each: a working
 * process ends only where a new one has proved that it could take over, and nothing is deleted that
 * somebody else has made.
 */

/** `mask-unread` and `socket-mask-unread` are masked by a link which systemd has not read. */
export const UNITS = [
  'enabled',
  'disabled',
  'masked',
  'mask-unread',
  'socket-mask-unread',
  'socket',
  'stopped',
  'failed',
] as const;
export const CONFIGS = ['good', 'broken', 'absent'] as const;
/** Of a provider of Vault; `refusing` has a secret id that is not valid any more. */
export const VAULTS = ['well', 'sealed', 'away', 'refusing'] as const;
/** Of a provider with a local keyring; `replaced` is another keyring, `older` an old copy of it. */
export const KEYRINGS = ['there', 'lost', 'replaced', 'older'] as const;
/** `interrupted` is an upgrade that is killed before its scripts have run, and then completed. */
export const ACTIONS = ['upgrade', 'downgrade', 'interrupted', 'remove', 'purge'] as const;

export type Unit = (typeof UNITS)[number];
export type Config = (typeof CONFIGS)[number];
export type Provider =
  | { readonly kind: 'vault'; readonly state: (typeof VAULTS)[number] }
  | { readonly kind: 'keyring'; readonly state: (typeof KEYRINGS)[number] };
export type Action = (typeof ACTIONS)[number];

export type State = {
  readonly unit: Unit;
  readonly config: Config;
  readonly provider: Provider;
  readonly action: Action;
};

export function titleOf({ unit, config, provider, action }: State): string {
  return `${action} with the unit ${unit}, configuration ${config}, ${provider.kind} ${provider.state}`;
}

/** `enabled`, `disabled` and the masked ones run; `socket` is started by its first call, which was made. */
export function runs(unit: Unit): boolean {
  return unit !== 'stopped' && unit !== 'failed';
}

/** What becomes of the process that ran. */
export type Fate = 'restarted' | 'kept' | 'ended' | 'none';

export function fateOf({ unit, config, provider, action }: State): Fate {
  if (!runs(unit)) return 'none';
  if (action === 'remove' || action === 'purge') return 'ended';
  const proved = provider.state === 'well' || provider.state === 'there';
  const masked = unit === 'masked' || unit === 'mask-unread' || unit === 'socket-mask-unread';
  return !masked && config === 'good' && proved ? 'restarted' : 'kept';
}

const PROVIDERS: readonly Provider[] = [
  ...VAULTS.map((state) => ({ kind: 'vault', state }) as const),
  ...KEYRINGS.map((state) => ({ kind: 'keyring', state }) as const),
];

/** The whole product. */
export function allStates(): readonly State[] {
  return ACTIONS.flatMap((action) =>
    UNITS.flatMap((unit) =>
      CONFIGS.flatMap((config) =>
        PROVIDERS.map((provider) => ({ unit, config, provider, action })),
      ),
    ),
  );
}

/**
 * A subset in which each pair of values of two dimensions is: greedy, in a fixed order, so that it is
 * the same in every run.
 */
export function pairwise(states: readonly State[]): readonly State[] {
  const open = new Set(states.flatMap(pairsOf));
  const chosen: State[] = [];
  while (open.size > 0) {
    let best: State | undefined;
    let most = 0;
    for (const state of states) {
      const gain = pairsOf(state).filter((pair) => open.has(pair)).length;
      if (gain > most) [best, most] = [state, gain];
    }
    if (best === undefined) throw new Error('a pair that no state has');
    chosen.push(best);
    for (const pair of pairsOf(best)) open.delete(pair);
  }
  return chosen;
}

function pairsOf({ unit, config, provider, action }: State): readonly string[] {
  const values = [unit, config, `${provider.kind} ${provider.state}`, action];
  return values.flatMap((a, i) => values.slice(i + 1).map((b, j) => `${i}:${a} ${i + 1 + j}:${b}`));
}
