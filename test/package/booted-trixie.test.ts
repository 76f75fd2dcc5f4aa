import { bootedMachine, prepare } from './booted/machine.ts';
import { inOwnNamespaces } from './own-namespaces.ts';

if (await inOwnNamespaces(import.meta.filename, () => prepare('trixie'))) bootedMachine('trixie');
