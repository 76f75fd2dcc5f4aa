import { everyPackageState } from './package-states.ts';

await everyPackageState(import.meta.filename, { suite: 'bookworm', kind: 'rpm' });
