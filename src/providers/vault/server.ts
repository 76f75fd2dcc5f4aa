/** One server of a Vault, and what is known of it. */
import type { Circuit } from './circuit.ts';
import type { Target } from './dispatcher.ts';
import type { VaultConnection } from './http.ts';
import type { LoginSpacing } from './login-spacing.ts';
import type { Pace } from './pace.ts';

export type Server = {
  readonly target: Target;
  readonly connection: VaultConnection;
  readonly circuit: Circuit;
  readonly pace: Pace;
  readonly logins: LoginSpacing;
};

/** A server as people know it, and which of several addresses of its name it is. */
export function nameOf({ url, ip }: Target): string {
  return ip === undefined ? url : `${url} (${ip})`;
}
