/** Runs the states of one kind of package in one Debian: each pair of values, or all with STATES=all. */
import { inOwnNamespaces } from '../package/own-namespaces.ts';
import { packageStates, prepareStates, type Variant } from '../package/states/package-states.ts';
import { allStates, pairwise } from '../package/states/state.ts';

export async function everyPackageState(file: string, variant: Variant): Promise<void> {
  if (!(await inOwnNamespaces(file, () => prepareStates(variant.suite)))) return;
  const all = allStates();
  packageStates(variant, process.env['STATES'] === 'all' ? all : pairwise(all));
}
