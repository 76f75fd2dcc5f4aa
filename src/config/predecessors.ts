/** The plugins that came before: their configurations are recognised, and turned into one of this plugin. */
import { parse } from 'yaml';
import type { Converted } from './predecessors/converted.ts';
import { fromKleidi } from './predecessors/kleidi.ts';
import { fromTrousseau1 } from './predecessors/trousseau-1.ts';
import { fromVaultKubernetesKms } from './predecessors/vault-kubernetes-kms.ts';

/** The new configuration for the text of an earlier plugin's; undefined for every other text. Never throws. */
export function fromPredecessor(text: string): Converted | undefined {
  const data = plainData(text);
  return fromTrousseau1(data) ?? fromKleidi(data) ?? fromVaultKubernetesKms(text, data);
}

/** What `config check` says of such a file. */
export function predecessorProblem(file: string, { predecessor }: Converted): string {
  return `it is a configuration of ${predecessor}: "trousseau config migrate ${file}" prints the new one`;
}

/** Undefined for what is no YAML, as a systemd unit. */
function plainData(text: string): unknown {
  try {
    return parse(text, { maxAliasCount: 50, stringKeys: true, logLevel: 'error' }) as unknown;
  } catch {
    return undefined;
  }
}
