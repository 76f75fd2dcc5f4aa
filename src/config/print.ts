/** A configuration as text again: what would run, with nothing in it that should not be shown. */
import { stringify } from 'yaml';
import { formatDuration } from './duration.ts';
import type { ResolvedConfig } from './environment.ts';

/** How much of a role id is shown: enough to tell two apart, too little to log in with. */
const SHOWN_ROLE_ID = 4;

/** The effective configuration as plain data in the form of the file: durations and modes as text. */
export function printable(config: ResolvedConfig): object {
  const { apiVersion, kind, listen, admin, log, health, providers, write, decryptCache } = config;
  return {
    apiVersion,
    kind,
    listen: { ...listen, mode: listen.mode.toString(8).padStart(4, '0') },
    admin,
    log,
    health: {
      watchInterval: formatDuration(health.watchInterval),
      ...(health.outageGrace === undefined
        ? {}
        : { outageGrace: formatDuration(health.outageGrace) }),
      ...(health.acknowledgedLosses === undefined
        ? {}
        : { acknowledgedLosses: health.acknowledgedLosses }),
    },
    providers: providers.map((provider) => {
      if (!('vault' in provider)) return provider;
      const { name, vault } = provider;
      const { appRole } = vault.auth;
      const auth =
        appRole?.roleID === undefined
          ? vault.auth
          : {
              ...vault.auth,
              appRole: { ...appRole, roleID: `${appRole.roleID.slice(0, SHOWN_ROLE_ID)}...` },
            };
      return {
        name,
        vault: { ...vault, requestTimeout: formatDuration(vault.requestTimeout), auth },
      };
    }),
    write,
    ...(decryptCache === undefined
      ? {}
      : { decryptCache: { ...decryptCache, maxAge: formatDuration(decryptCache.maxAge) } }),
  };
}

/** The same as YAML. */
export function printConfig(config: ResolvedConfig): string {
  return stringify(printable(config), { lineWidth: 0 });
}
