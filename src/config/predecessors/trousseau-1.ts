/**
 * Trousseau 1.x and 2.0 alpha of Ondat: a YAML file that viper reads, its field names in any case.
 * https://github.com/ondat/trousseau/blob/v1.1.3/internal/config/config.go
 */
import {
  type Converted,
  converted,
  given,
  isRecord,
  lowered,
  moveSecret,
  SECRET_FILES,
  textOf,
} from './converted.ts';

const ONE = 'Trousseau 1.x';
const TWO = 'Trousseau 2.0 alpha';

/** 1.x has everything under `vault`; 2.0 alpha has the same fields at the top. */
export function fromTrousseau1(data: unknown): Converted | undefined {
  const top = lowered(data);
  const nested = isRecord(top['vault']) && top['apiversion'] === undefined;
  const fields = nested ? lowered(top['vault']) : top;
  if (fields['keynames'] === undefined && !(nested && top['provider'] === 'vault'))
    return undefined;
  const predecessor = nested ? ONE : TWO;
  const field = (name: string): string | undefined => textOf(fields, name.toLowerCase());
  const names: readonly unknown[] = Array.isArray(fields['keynames']) ? fields['keynames'] : [];
  const [key] = names;
  const { auth, byHand } = login(field);
  const transit = field('transitPath')?.replace(/^\/+|\/+$/g, '');
  return converted({
    predecessor,
    vault: {
      address: field('address'),
      mount: transit,
      key: typeof key === 'string' ? key : undefined,
      tls: tls(field),
      auth,
    },
    byHand: [
      ...byHand,
      ...(names.length > 1
        ? [
            'It names several keys, of which the first encrypted: each other key needs a provider of its own.',
          ]
        : []),
      readOf(transit, names),
    ],
  });
}

/** What the policy of the new plugin needs beside that of the old one. */
function readOf(mount: string | undefined, names: readonly unknown[]): string {
  const known = names.filter((name) => typeof name === 'string' && name !== '');
  const paths = (known.length === 0 ? ['NAME-OF-THE-KEY'] : known).map(
    (name) =>
      `path ${JSON.stringify(`${mount || 'transit'}/keys/${name}`)} { capabilities = ["read"] }`,
  );
  return `Its policy has no "read" on the key: add ${paths.join(' and ')}.`;
}

type Field = (name: string) => string | undefined;

/** The order in which it looked: a token, a certificate, an AppRole. */
function login(field: Field): Pick<Parameters<typeof converted>[0], 'byHand'> & {
  readonly auth: Readonly<Record<string, unknown>>;
} {
  const mountOf = (method: string): { readonly mount?: string } => {
    const path = (field('authPath') ?? 'auth').replace(/^\/+|\/+$/g, '').replace(/^auth\/?/, '');
    return path === '' ? {} : { mount: `${path}/${method}` };
  };
  const { token, roleID, secretID } = SECRET_FILES;
  if (field('token') !== undefined)
    return {
      auth: { token: { tokenFile: token } },
      byHand: [moveSecret('the token', 'the field token', token)],
    };
  const [certFile, keyFile] = [field('clientCert'), field('clientKey')];
  if (certFile !== undefined && keyFile !== undefined)
    return { auth: { cert: { ...mountOf('cert'), certFile, keyFile } }, byHand: [] };
  return {
    auth: { appRole: { ...mountOf('approle'), roleIDFile: roleID, secretIDFile: secretID } },
    byHand: [
      moveSecret('the role id', 'the field roleID', roleID),
      moveSecret('the secret id', 'the field secretID', secretID),
    ],
  };
}

function tls(field: Field): Readonly<Record<string, unknown>> | undefined {
  const settings = given({ caFile: field('vaultCACert'), serverName: field('tlsServerName') });
  return Object.keys(settings).length === 0 ? undefined : settings;
}
