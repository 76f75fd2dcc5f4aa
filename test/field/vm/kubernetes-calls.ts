/** Calls of Kubernetes' own KMS client inside a virtual machine, as kube-apiserver makes them. */
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { testServers } from '../../../scripts/test-servers/binaries.ts';
import { SERVICE, SOCKET, saysOfItself } from '../../package/installation.ts';
import type { Identity, Shell } from '../../package/nspawn.ts';
import { READY_MS } from './node-with-vault.ts';

const CLIENT = '/usr/local/bin/kms-client';
/** Encrypts and decrypts in rounds, and ends after the one in which the file that it is given exists. */
export const CALLS = '/usr/local/bin/kms-calls';
/** What takes kube-apiserver's 3 s at most takes many times that on an emulated processor that others use too. */
const CALL_LIMIT = '10m';
/** One connection for as long as the plugin keeps it. Each reply is printed; it ends at the first error. */
const SCRIPT = `#!/bin/bash
coproc client { exec ${CLIENT} -endpoint=unix://${SOCKET} -timeout=${CALL_LIMIT}; }
while true; do
  for op in write read; do
    echo '{"id":1,"op":"'$op'","through":"service","api":"v2","count":32,"size":32,"workers":4}' >&"\${client[1]}"
    read -r reply <&"\${client[0]}"
    echo "$reply"
    [[ $reply == *'"count":32,"errors":0,"mismatches":0,'* ]] || exit 1
  done
  [ ! -e "$1" ] || exit 0
done
`;

/** Before the machine boots. */
export function layCalls(root: string): void {
  copyFileSync(testServers()['kms-client-1.36'], join(root, CLIENT));
  writeFileSync(join(root, CALLS), SCRIPT);
  for (const program of [CLIENT, CALLS]) chmodSync(join(root, program), 0o755);
}

/** One round, once the plugin says that it is ready. */
export async function callOnce(machine: Shell, as?: Identity): Promise<void> {
  await saysOfItself(machine, /^ready/, READY_MS);
  const { code, out, err } = await machine.run([CALLS, '/'], as);
  if (code !== 0) assert.fail(`${out}${err}\n${await journals(machine, SERVICE)}`);
}

/** The last lines of these units together, in the order in which they were written. */
export function journals(machine: Shell, ...units: readonly string[]): Promise<string> {
  const form = ['--no-pager', '--output=short-iso-precise', '--lines=100'];
  return machine.must(['journalctl', ...form, ...units.map((unit) => `--unit=${unit}`)]);
}
