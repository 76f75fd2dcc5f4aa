/** The one store that all kube-apiservers share, as etcd is, and the damage that is done to it. */
import type { KubernetesRelease, Sealed } from '../servers/kms-client.ts';
import type { Through } from './history.ts';

/** What etcd holds for an object, or what a service was given for it. */
export type Stored = {
  readonly name: string;
  readonly api: 'v1' | 'v2';
  readonly through: Through;
  /** Whose envelope wrote it: old ones cannot read what newer ones write. */
  readonly client: KubernetesRelease;
  readonly value: Buffer | Sealed;
};

export type Store = {
  add(object: Stored): void;
  /** Replaces the value. */
  replace(object: Stored): void;
  readonly names: readonly string[];
  /** The names of those whose bytes are damaged now. */
  readonly damaged: Set<string>;
  get(name: string): Stored;
};

/** Empty. */
export function createStore(): Store {
  const objects = new Map<string, Stored>();
  const names: string[] = [];
  return {
    add(object) {
      objects.set(object.name, object);
      names.push(object.name);
    },
    replace: (object) => void objects.set(object.name, object),
    names,
    damaged: new Set(),
    get(name) {
      const object = objects.get(name);
      if (object === undefined) throw new Error(`no object ${name}`);
      return object;
    },
  };
}

const BODY = 32;
/** The beginning of a ciphertext. A key_id, which an envelope has before it, looks like one too. */
const CIPHERTEXT = /vault:v(\d+):[A-Za-z0-9+/]{32}/g;

/** The same object with one character of its encrypted data key changed; undefined where that is not Vault's. */
export function damagedCopy(object: Stored, choice: number): Stored | undefined {
  const bytes = bytesOf(object.value);
  const match = lastOf(CIPHERTEXT, bytes);
  if (match === undefined) return undefined;
  // Within what is base64 for sure: the last characters may carry bits that no decoder reads.
  const at = match.index + match[0].length - BODY + Math.floor(choice * BODY);
  const changed = Buffer.from(bytes);
  changed[at] = changed[at] === 0x41 ? 0x42 : 0x41;
  return {
    ...object,
    value: isSealed(object.value) ? { ...object.value, ciphertext: changed } : changed,
  };
}

/** The N of the `vault:vN:` in it; undefined without one, as under a local KEK. */
export function versionIn(value: Buffer | Sealed): number | undefined {
  const version = lastOf(CIPHERTEXT, bytesOf(value))?.[1];
  return version === undefined ? undefined : Number(version);
}

/** Whether it was answered by the service, and not by the envelope. */
export function isSealed(value: Buffer | Sealed): value is Sealed {
  return 'ciphertext' in value;
}

function bytesOf(value: Buffer | Sealed): Buffer {
  return isSealed(value) ? value.ciphertext : value;
}

function lastOf(pattern: RegExp, bytes: Buffer): RegExpExecArray | undefined {
  return [...bytes.toString('latin1').matchAll(pattern)].at(-1);
}
