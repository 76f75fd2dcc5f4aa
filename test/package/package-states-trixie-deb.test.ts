import { inOwnNamespaces } from './own-namespaces.ts';
import { STATES } from './states/chosen.ts';
import { packageStates, prepareStates } from './states/package-states.ts';

if (await inOwnNamespaces(import.meta.filename, () => prepareStates('trixie')))
  packageStates({ suite: 'trixie', kind: 'deb' }, STATES);
