/**
 * vault-kubernetes-kms: no file, but flags in a Pod, a unit or a script, or variables VAULT_KMS_*.
 * https://github.com/FalcoSuessgott/vault-kubernetes-kms/blob/main/cmd/plugin.go
 */
import {
  type Converted,
  converted,
  given,
  isRecord,
  moveSecret,
  SECRET_FILES,
  type Settings,
} from './converted.ts';

const PREDECESSOR = 'vault-kubernetes-kms';
const FLAG =
  /(?:^|[\s"'[,])--?([a-z][a-z0-9-]*)(?:=|\s+|["']\s*,\s*["'])("[^"]*"|'[^']*'|[^\s"',\]\\]+)/g;
const VARIABLE = /\bVAULT_KMS_([A-Z0-9_]+)=("[^"]*"|'[^']*'|[^\s"']+)/g;
/** Variables whose names are not those of the flags. */
const FLAG_OF: Readonly<Record<string, string>> = {
  'vault-addr': 'vault-address',
  'vault-cacert': 'vault-ca-cert',
  'token-renewal-seconds': 'token-renewal',
};
/** The names that 0.1 had. */
const FORMERLY: Readonly<Record<string, string>> = {
  token: 'vault-token',
  'transit-key': 'vault-transit-key',
  'transit-mount': 'vault-transit-mount',
  'k8s-mount': 'vault-k8s-mount',
  'k8s-role': 'vault-k8s-role',
};

/** `text` is the file, `data` what YAML makes of it, where it is YAML. */
export function fromVaultKubernetesKms(text: string, data: unknown): Converted | undefined {
  const flags = data === undefined || typeof data === 'string' ? flagsIn(text) : flagsOf(data);
  if (!flags.has('vault-address')) return undefined;
  const get = (name: string): string | undefined =>
    flags.get(name) ?? flags.get(FORMERLY[name] ?? name);
  const apis = ['v1', 'v2'].filter((api) => !isOn(flags.get(`disable-${api}`)));
  const { auth, byHand } = login(get);
  const caFile = get('vault-ca-cert');
  return converted({
    predecessor: PREDECESSOR,
    vault: {
      address: get('vault-address'),
      namespace: get('vault-namespace'),
      mount: get('transit-mount'),
      key: get('transit-key') ?? 'kms',
      tls: caFile === undefined ? undefined : { caFile },
      auth,
    },
    top: {
      ...(apis.length === 1 ? { listen: { apis } } : {}),
      ...(isOn(flags.get('debug')) ? { log: { level: 'debug' } } : {}),
    },
    socket: (get('socket') ?? '/opt/kms/vaultkms.socket').replace(/^unix:\/\//, ''),
    byHand,
  });
}

type Flags = ReadonlyMap<string, string>;

function isOn(value: string | undefined): boolean {
  return value === 'true' || value === '1';
}

/** Of a unit, a script or a file of variables. */
function flagsIn(text: string): Flags {
  const flags = new Map<string, string>();
  const joined = text.replace(/\\\r?\n/g, ' ').replace(/^\s*[#;].*$/gm, '');
  const bare = (value: string): string => value.replace(/^(["'])(.*)\1$/, '$2');
  for (const [, name = '', value = ''] of joined.matchAll(VARIABLE)) {
    const flag = name.toLowerCase().replaceAll('_', '-');
    flags.set(FLAG_OF[flag] ?? flag, bare(value));
  }
  for (const [, name = '', value = ''] of joined.matchAll(FLAG))
    flags.set(name, /^--?[a-z]/.test(value) ? 'true' : bare(value));
  for (const [, name = ''] of joined.matchAll(/(?:^|\s)--?(debug|disable-v[12])(?=\s|$)/g))
    flags.set(name, 'true');
  return flags;
}

/** Of a Pod, or whatever holds containers somewhere: their `command`, `args` and `env`. */
function flagsOf(data: unknown): Flags {
  const flags = new Map<string, string>();
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) for (const item of node) visit(item);
    if (!isRecord(node)) return;
    for (const { name, value } of variables(node['env'])) {
      const flag = name.slice('VAULT_KMS_'.length).toLowerCase().replaceAll('_', '-');
      flags.set(FLAG_OF[flag] ?? flag, value);
    }
    const words = [node['command'], node['args']].flatMap((list) =>
      Array.isArray(list) ? list.filter((word) => typeof word === 'string') : [],
    );
    for (const [i, word] of words.entries()) {
      const [, name, value] = /^--?([a-z][a-z0-9-]*)(?:=([\s\S]*))?$/.exec(word) ?? [];
      if (name === undefined) continue;
      const next = words[i + 1];
      flags.set(name, value ?? (next === undefined || next.startsWith('-') ? 'true' : next));
    }
    for (const value of Object.values(node)) visit(value);
  };
  visit(data);
  return flags;
}

function variables(env: unknown): readonly { readonly name: string; readonly value: string }[] {
  if (!Array.isArray(env)) return [];
  return env.flatMap((entry: unknown) => {
    if (!isRecord(entry)) return [];
    const { name, value } = entry;
    return typeof name === 'string' && name.startsWith('VAULT_KMS_') && typeof value === 'string'
      ? [{ name, value }]
      : [];
  });
}

function login(get: (name: string) => string | undefined): {
  readonly auth: Settings;
  readonly byHand: readonly string[];
} {
  const { token, roleID, secretID, password, clientCertificate, clientKey } = SECRET_FILES;
  const method = get('auth-method')?.toLowerCase();
  switch (method) {
    case 'approle':
      return {
        auth: {
          appRole: {
            ...given({ mount: get('approle-mount') }),
            roleIDFile: roleID,
            secretIDFile: secretID,
          },
        },
        byHand: [
          moveSecret('the role id', '-approle-role-id', roleID),
          moveSecret('the secret id', '-approle-secret-id', secretID),
        ],
      };
    case 'userpass':
      return {
        auth: {
          userpass: {
            ...given({ mount: get('userpass-mount') }),
            username: get('userpass-username') ?? 'trousseau',
            passwordFile: password,
          },
        },
        byHand: [moveSecret('the password', '-userpass-password', password)],
      };
    case 'cert': {
      const both = get('cert-pem');
      return {
        auth: {
          cert: {
            ...given({ mount: get('cert-mount'), role: get('cert-role') }),
            certFile: both ?? get('cert-file') ?? clientCertificate,
            keyFile: both ?? get('cert-key') ?? clientKey,
          },
        },
        byHand: [],
      };
    }
    case 'jwt':
      return {
        auth: {
          jwt: {
            ...given({ mount: get('jwt-mount') }),
            role: get('jwt-role') ?? 'trousseau',
            tokenFile:
              get('jwt-token-path') ?? '/var/run/secrets/kubernetes.io/serviceaccount/token',
          },
        },
        byHand:
          get('jwt-token-source') === 'spiffe'
            ? [
                'Trousseau asks no SPIFFE endpoint: have spiffe-helper write the JWT-SVID to tokenFile.',
              ]
            : ['The token must be a file of the node that the user trousseau can read.'],
      };
    case 'k8s':
    case 'kubernetes':
      return {
        auth: {
          kubernetes: {
            ...given({ mount: get('k8s-mount') }),
            role: get('k8s-role') ?? 'trousseau',
          },
        },
        byHand: [
          'Vault asks kube-apiserver about the token of a ServiceAccount, and kube-apiserver cannot start without the plugin: use AppRole instead (/usr/share/doc/trousseau/docs/authentication.md).',
        ],
      };
    default:
      return {
        auth: { token: { tokenFile: token } },
        byHand: [moveSecret('the token', '-token', token)],
      };
  }
}
