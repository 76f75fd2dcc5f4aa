/**
 * The history of a run: every call, every fault and every measurement as one event, in the order in
 * which they happened. Times are milliseconds since the start of the run. Pure.
 */
import type { FaultKind } from './schedule.ts';

/** Of the plugin that a call goes to. */
export type NodeIndex = number;
/** Of a Vault server. */
export type ServerIndex = number;

export type Operation = 'write' | 'read' | 'status' | 'healthz' | 'load';

/** Through kube-apiserver's envelope, or straight to the service with a plaintext of 32 bytes. */
export type Through = 'envelope' | 'service';

export type CallBegin = {
  readonly e: 'call';
  readonly t: number;
  readonly id: number;
  readonly node: NodeIndex;
  /** The release of Kubernetes whose client made the call. */
  readonly client: string;
  readonly api: 'v1' | 'v2';
  readonly through: Through;
  readonly op: Operation;
  readonly object?: string;
};

export type CallEnd = {
  readonly e: 'end';
  readonly t: number;
  readonly id: number;
  /** `OK`, the name of a gRPC status, `Unhealthy` of a health check, or `none` where it has no status. */
  readonly code: string;
  /** Of the plaintext that was written or read: the beginning of its SHA-256. */
  readonly sum?: string;
  /** The key version in what was written, or in the key_id of Status; absent without one. */
  readonly version?: number;
  readonly keyId?: string;
  /** Of Status. */
  readonly healthz?: string;
  readonly error?: string;
};

/** The bytes of an object in the store were damaged, or put back. */
export type Damage = {
  readonly e: 'damage';
  readonly t: number;
  readonly object: string;
  readonly damaged: boolean;
};

export type FaultEvent = {
  readonly e: 'fault';
  readonly t: number;
  readonly id: number;
  readonly phase: 'begin' | 'end';
  readonly kind: FaultKind;
  readonly node?: NodeIndex;
  /** The server, or all where a fault between a plugin and Vault names none. */
  readonly server?: ServerIndex;
  readonly role?: 'active' | 'standby';
  /** `key.minimum`: the oldest version that is decrypted. */
  readonly minimum?: number;
  readonly note?: string;
};

/** What a probe of a Vault server itself found: it encrypts, or it does not; written at a change. */
export type ServerState = {
  readonly e: 'vault';
  readonly t: number;
  readonly server: ServerIndex;
  readonly up: boolean;
  /** Down: when the last probe that succeeded began. Up: when that probe ended. */
  readonly since: number;
};

/** How late the test itself was, or one of its clients. */
export type Lag = { readonly e: 'lag'; readonly t: number; readonly ms: number };

/** A process of a plugin was started, or has ended. */
export type ProcessEvent = {
  readonly e: 'process';
  readonly t: number;
  readonly node: NodeIndex;
  readonly what: 'start' | 'exit';
  /** `exit`: what ended it, where the run meant it. */
  readonly by?: 'kill' | 'stop';
  readonly how?: string;
};

/** A token of a plugin that Vault still has. */
export type LiveToken = {
  readonly e: 'token';
  readonly t: number;
  readonly node: NodeIndex;
  /** When Vault granted it. */
  readonly granted: number;
};

/** `calm`: the last fault has ended. `sweep`: every object is read from every node. `stopped`: all plugins have ended. */
export type Phase = {
  readonly e: 'phase';
  readonly t: number;
  readonly phase: 'faults' | 'calm' | 'sweep' | 'stopped';
};

export type HistoryEvent =
  | CallBegin
  | CallEnd
  | Damage
  | FaultEvent
  | ServerState
  | Lag
  | ProcessEvent
  | LiveToken
  | Phase;

/** The events of a history file, one JSON object a line. */
export function parseHistory(text: string): readonly HistoryEvent[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as HistoryEvent);
}
