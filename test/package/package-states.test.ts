/** A few states of a node, each met by an operation of dpkg; all of them: test/field. */
import { inOwnNamespaces } from './own-namespaces.ts';
import { packageStates, prepareStates } from './states/package-states.ts';
import type { State } from './states/state.ts';

const well = { kind: 'vault', state: 'well' } as const;
const there = { kind: 'keyring', state: 'there' } as const;

/** One for each reason to keep a process, and one for each operation. */
const STATES: readonly State[] = [
  { unit: 'enabled', config: 'good', provider: well, action: 'upgrade' },
  { unit: 'disabled', config: 'good', provider: there, action: 'downgrade' },
  {
    unit: 'enabled',
    config: 'good',
    provider: { kind: 'keyring', state: 'lost' },
    action: 'upgrade',
  },
  {
    unit: 'socket',
    config: 'good',
    provider: { kind: 'keyring', state: 'older' },
    action: 'interrupted',
  },
  { unit: 'enabled', config: 'broken', provider: well, action: 'upgrade' },
  {
    unit: 'enabled',
    config: 'good',
    provider: { kind: 'vault', state: 'away' },
    action: 'upgrade',
  },
  {
    unit: 'enabled',
    config: 'good',
    provider: { kind: 'vault', state: 'refusing' },
    action: 'interrupted',
  },
  { unit: 'masked', config: 'good', provider: there, action: 'upgrade' },
  { unit: 'failed', config: 'absent', provider: there, action: 'upgrade' },
  { unit: 'enabled', config: 'good', provider: well, action: 'purge' },
];

if (await inOwnNamespaces(import.meta.filename, () => prepareStates('trixie')))
  packageStates({ suite: 'trixie', kind: 'deb' }, STATES);
