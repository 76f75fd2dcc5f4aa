/** What an operator does with Vault, over its HTTP API, for setting tests up. */
import { type JsonReply, jsonRequest } from './json-request.ts';

/** The body of a successful answer; every field is there only where Vault has it. */
export type VaultBody = {
  readonly data?: Readonly<Record<string, unknown>> | null;
  readonly auth?: {
    readonly client_token: string;
    readonly accessor: string;
    readonly lease_duration: number;
    readonly renewable: boolean;
    readonly policies: readonly string[];
  } | null;
  readonly wrap_info?: { readonly token: string; readonly ttl: number } | null;
};

export type AppRole = { readonly roleId: string; readonly secretId: string };

export type VaultEndpoint = {
  /** With scheme and port, as in VAULT_ADDR. */
  readonly address: string;
  /** PEM, for https with a private authority. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
};

/** Calls with one token. Paths are without `/v1/`; all but `request` reject for a status >= 400. */
export type VaultAdmin = {
  readonly token: string;
  request(method: string, path: string, body?: unknown, headers?: Headers): Promise<JsonReply>;
  read(path: string): Promise<VaultBody>;
  write(path: string, body?: unknown): Promise<VaultBody>;
  delete(path: string): Promise<void>;
  /** `options` as `{ version: '2' }` for kv. */
  enableSecrets(
    type: string,
    mount?: string,
    options?: Readonly<Record<string, string>>,
  ): Promise<void>;
  disableSecrets(mount: string): Promise<void>;
  enableAuth(type: string, mount?: string): Promise<void>;
  disableAuth(mount: string): Promise<void>;
  writePolicy(name: string, hcl: string): Promise<void>;
  createKey(
    key: string,
    parameters?: Readonly<Record<string, unknown>>,
    mount?: string,
  ): Promise<void>;
  rotateKey(key: string, mount?: string): Promise<void>;
  /** For example `{ min_decryption_version: 2 }`. */
  configureKey(
    key: string,
    config: Readonly<Record<string, unknown>>,
    mount?: string,
  ): Promise<void>;
  /** Allows the deletion first. */
  deleteKey(key: string, mount?: string): Promise<void>;
  /** Parameters as `auth/token/create` has them: policies, ttl, period, num_uses, type. */
  createToken(parameters: Readonly<Record<string, unknown>>): Promise<string>;
  revokeToken(token: string): Promise<void>;
  /** Makes or changes the role, and a new secret id of it. */
  createAppRole(
    role: string,
    parameters: Readonly<Record<string, unknown>>,
    mount?: string,
  ): Promise<AppRole>;
  /** The same endpoint with another token. */
  withToken(token: string): VaultAdmin;
};

type Headers = Readonly<Record<string, string>>;

/** The policy that lets a plugin use one Transit key, and no more. */
export function transitPolicy(key: string, mount = 'transit'): string {
  return `path "${mount}/encrypt/${key}" { capabilities = ["update"] }
path "${mount}/decrypt/${key}" { capabilities = ["update"] }
path "${mount}/keys/${key}" { capabilities = ["read"] }
`;
}

/** A client of Vault's API; opens nothing until it is used. */
export function vaultAdmin(endpoint: VaultEndpoint, token: string): VaultAdmin {
  const request: VaultAdmin['request'] = (method, path, body, headers) =>
    jsonRequest({
      ...endpoint,
      method,
      url: `${endpoint.address}/v1/${path}`,
      headers: { 'x-vault-token': token, 'x-vault-request': 'true', ...headers },
      body,
    });
  const must = async (method: string, path: string, body?: unknown): Promise<VaultBody> => {
    const reply = await request(method, path, body);
    if (reply.status < 400) return reply.body === '' ? {} : (reply.body as VaultBody);
    throw new Error(`Vault: ${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`);
  };
  const done = async (method: string, path: string, body?: unknown): Promise<void> => {
    await must(method, path, body);
  };
  return {
    token,
    request,
    read: (path) => must('GET', path),
    write: (path, body = {}) => must('POST', path, body),
    delete: (path) => done('DELETE', path),
    enableSecrets: (type, mount = type, options = {}) =>
      done('POST', `sys/mounts/${mount}`, { type, options }),
    disableSecrets: (mount) => done('DELETE', `sys/mounts/${mount}`),
    enableAuth: (type, mount = type) => done('POST', `sys/auth/${mount}`, { type }),
    disableAuth: (mount) => done('DELETE', `sys/auth/${mount}`),
    writePolicy: (name, policy) => done('PUT', `sys/policies/acl/${name}`, { policy }),
    createKey: (key, parameters = {}, mount = 'transit') =>
      done('POST', `${mount}/keys/${key}`, parameters),
    rotateKey: (key, mount = 'transit') => done('POST', `${mount}/keys/${key}/rotate`, {}),
    configureKey: (key, config, mount = 'transit') =>
      done('POST', `${mount}/keys/${key}/config`, config),
    deleteKey: async (key, mount = 'transit') => {
      await must('POST', `${mount}/keys/${key}/config`, { deletion_allowed: true });
      await must('DELETE', `${mount}/keys/${key}`);
    },
    createToken: async (parameters) =>
      field((await must('POST', 'auth/token/create', parameters)).auth, 'client_token'),
    revokeToken: (revoked) => done('POST', 'auth/token/revoke', { token: revoked }),
    createAppRole: async (role, parameters, mount = 'approle') => {
      const path = `auth/${mount}/role/${role}`;
      await must('POST', path, parameters);
      const id = await must('GET', `${path}/role-id`);
      const secret = await must('POST', `${path}/secret-id`, {});
      return { roleId: field(id.data, 'role_id'), secretId: field(secret.data, 'secret_id') };
    },
    withToken: (other) => vaultAdmin(endpoint, other),
  };
}

function field(object: object | null | undefined, name: string): string {
  const value: unknown = Object.entries(object ?? {}).find(([key]) => key === name)?.[1];
  if (typeof value === 'string') return value;
  throw new Error(`Vault: no ${name} in its answer`);
}
