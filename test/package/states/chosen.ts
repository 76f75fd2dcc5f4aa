/** What `make test` tries of all states: one for each reason to keep a process, and one for each operation. */
import type { State } from './state.ts';

const well = { kind: 'vault', state: 'well' } as const;
const away = { kind: 'vault', state: 'away' } as const;
const refusing = { kind: 'vault', state: 'refusing' } as const;
const there = { kind: 'keyring', state: 'there' } as const;
const lost = { kind: 'keyring', state: 'lost' } as const;
const older = { kind: 'keyring', state: 'older' } as const;

export const STATES: readonly State[] = [
  { unit: 'enabled', config: 'good', provider: well, action: 'upgrade' },
  { unit: 'disabled', config: 'good', provider: there, action: 'downgrade' },
  { unit: 'enabled', config: 'good', provider: lost, action: 'upgrade' },
  { unit: 'socket', config: 'good', provider: older, action: 'interrupted' },
  { unit: 'enabled', config: 'broken', provider: well, action: 'upgrade' },
  { unit: 'enabled', config: 'good', provider: away, action: 'upgrade' },
  { unit: 'enabled', config: 'good', provider: refusing, action: 'interrupted' },
  { unit: 'masked', config: 'good', provider: there, action: 'upgrade' },
  { unit: 'mask-unread', config: 'good', provider: there, action: 'upgrade' },
  { unit: 'socket-mask-unread', config: 'good', provider: there, action: 'upgrade' },
  { unit: 'failed', config: 'absent', provider: there, action: 'upgrade' },
  { unit: 'enabled', config: 'good', provider: well, action: 'purge' },
];
