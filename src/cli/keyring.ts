/** `trousseau keyring`: the files of the local provider. */
import { isAbsolute, resolve } from 'node:path';
import type { Keyring } from '../providers/local/keyring-file.ts';
import {
  initKeyring,
  type KeyringPlace,
  loadKeyring,
  rotateKeyring,
} from '../providers/local/store.ts';
import { actionCall } from './actions.ts';
import { type Command, EXIT, type ExitCode, type Invocation, OUTPUT_OPTION } from './command.ts';

const ACTIONS = ['init', 'rotate', 'list'] as const;
type Action = (typeof ACTIONS)[number];

const SEALS = '[--passphrase-file FILE | --seal-key-file FILE]';

export const keyringCommand: Command = {
  name: 'keyring',
  summary: 'make, rotate and list the keys of a local keyring',
  usage: [`trousseau keyring ACTION FILE ${SEALS} [--output FORMAT]`],
  actions: ACTIONS,
  description:
    'A local keyring is a file with the keys of the local provider: for trying out, for tests, and for\n' +
    'clusters without a key management system. Whoever has the file, and the secret that seals it, can\n' +
    'decrypt; keep a copy where the cluster is not. ACTION is init (make one), rotate (add a version,\n' +
    'which encrypts from then on) or list (its versions, never its keys). With several control-plane\n' +
    'nodes rotate a copy, and put it in place on all of them at about the same time.',
  examples: [
    {
      command: 'trousseau keyring init /var/lib/trousseau/keyring.json',
      what: 'make a keyring with one key',
    },
    {
      command:
        'trousseau keyring init /var/lib/trousseau/keyring.json --seal-key-file /etc/trousseau/seal.key',
      what: 'the same, sealed under a key of 32 bytes (head -c 32 /dev/urandom | base64)',
    },
    {
      command: 'trousseau keyring rotate /var/lib/trousseau/keyring.json',
      what: 'on the only node: add a version, which encrypts from now on',
    },
    {
      command: 'trousseau keyring rotate keyring.json.new',
      what: 'with several nodes: a copy of the keyring, which is then brought to each of them',
    },
    {
      command: 'trousseau keyring list /var/lib/trousseau/keyring.json -o json',
      what: 'its versions, never its keys',
    },
  ],
  options: {
    'passphrase-file': {
      type: 'string',
      value: 'FILE',
      what: 'seal or open it with the passphrase in FILE',
    },
    'seal-key-file': {
      type: 'string',
      value: 'FILE',
      what: 'seal or open it with the key of 32 bytes in FILE',
    },
    output: OUTPUT_OPTION,
  },
  async run(invocation): Promise<ExitCode> {
    const { positionals, options, err, env } = invocation;
    const call = actionCall(keyringCommand, ACTIONS, positionals);
    if ('problem' in call) {
      err(call.problem);
      return EXIT.usage;
    }
    const { action, file } = call;
    const passphraseFile = absolute(options['passphrase-file']);
    const sealKeyFile = absolute(options['seal-key-file']);
    if (passphraseFile !== undefined && sealKeyFile !== undefined) {
      err('--passphrase-file and --seal-key-file exclude each other\n');
      return EXIT.usage;
    }
    const place: KeyringPlace = { keyringFile: resolve(file), passphraseFile, sealKeyFile };
    const keyring = await act(action, place, env);
    if ('problem' in keyring) {
      err(`${keyring.problem}\n`);
      return EXIT.failure;
    }
    report(action, place, keyring, invocation);
    return EXIT.ok;
  },
};

async function act(
  action: Action,
  place: KeyringPlace,
  env: Invocation['env'],
): Promise<Keyring | { readonly problem: string }> {
  switch (action) {
    case 'init':
      return await initKeyring(place, env, Date.now());
    case 'rotate':
      return await rotateKeyring(place, env, Date.now());
    case 'list': {
      const loaded = await loadKeyring(place, env);
      return 'problem' in loaded ? loaded : loaded.keyring;
    }
  }
}

function report(
  action: Action,
  place: KeyringPlace,
  keyring: Keyring,
  { options, out }: Invocation,
): void {
  const versions = keyring.keys.map(({ version, createdAt }) => ({
    version,
    createdAt: new Date(createdAt).toISOString(),
    current: version === keyring.current,
  }));
  if (options['output'] === 'json') {
    out(`${JSON.stringify({ file: place.keyringFile, id: keyring.id, versions })}\n`);
    return;
  }
  for (const { version, createdAt, current } of versions) {
    out(`v${version}  ${createdAt}${current ? '  encrypts' : ''}\n`);
  }
  switch (action) {
    case 'init':
      out(
        `Made ${place.keyringFile}. Next: name it in the configuration (local.keyringFile), and keep a copy away from the cluster.\n`,
      );
      if (process.getuid?.() === 0)
        out(
          `It belongs to root. Where the plugin runs as a user of its own, as the unit of the packages does: chown -h trousseau: ${place.keyringFile}\n`,
        );
      return;
    case 'rotate':
      out(`${ROTATED.join('\n')}\n`);
      return;
    case 'list':
      return;
  }
}

/** A node that has the earlier file cannot read what another one writes with the new version. */
const ROTATED = [
  'A plugin that uses this file encrypts with the new version within its watchInterval.',
  'With several control-plane nodes, a node without this file cannot read what is written then: bring it to',
  'all of them under another name, and put it in place with mv on each at about the same time. If this is the',
  'file that a plugin uses already, do so at once.',
  'Then replace the copy that is kept away from the cluster, and write all Secrets again: with KMS v1 by a',
  'change in each one, since without a change nothing is written.',
];

/** A path as the person meant it, from where they are; `credential:NAME` stays as it is. */
function absolute(option: string | boolean | undefined): string | undefined {
  if (typeof option !== 'string') return undefined;
  return option.startsWith('credential:') || isAbsolute(option) ? option : resolve(option);
}
