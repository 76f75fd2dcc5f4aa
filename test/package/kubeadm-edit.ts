/** Somebody who edits kubeadm's ConfigMap as docs/install-offline.md says. */
import assert from 'node:assert/strict';
import { wordsOf, yamlOf } from './offline-document.ts';

/** In which form kubeadm keeps what it knows of a cluster. */
export type Form = 'v1beta4' | 'v1beta3';

/** Where the two lie on a node. */
export const EDITOR = '/tmp/kube-edit';
export const ADDED = '/tmp/kube-added';

/** An editor that does what the document tells: `kubectl edit` gives it the ConfigMap. */
export const EDITOR_SCRIPT = `#!/bin/sh
sed -i -e '/^    apiServer: {}$/{' -e 'r ${ADDED}' -e d -e '}' "$1"
`;

/** What the document adds, as it says it for that form, and as deep as the ConfigMap has it. */
export function addedIn(form: Form): string {
  const yaml = yamlOf('### kubeadm');
  const added = yaml.slice(yaml.indexOf('apiServer:'));
  return (form === 'v1beta4' ? added : inOldForm(added)).replaceAll(/^(?=.)/gm, '    ');
}

function inOldForm(added: string): string {
  const list = /^ {2}extraArgs:\n( {4}.*\n)+/m;
  assert.match(added, list);
  return added.replace(list, `  ${wordsOf('### kubeadm', 'extraArgs:')}\n`);
}
