import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Command } from '../../../src/cli/command.ts';
import { COMMANDS } from '../../../src/cli/commands.ts';
import { runProgram } from '../../../src/cli/run.ts';
import { VERSION } from '../../../src/version.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { trousseau } from './fixtures.ts';

describe('a call that is wrong', () => {
  for (const [argv, said] of [
    [['srve'], 'there is no command srve (did you mean serve?); see trousseau --help\n'],
    [['Version'], 'there is no command Version (did you mean version?); see trousseau --help\n'],
    [['kering'], 'there is no command kering (did you mean keyring?); see trousseau --help\n'],
    [['encrypt'], 'there is no command encrypt; see trousseau --help\n'],
    [['-v'], 'there is no option -v (did you mean -V?); see trousseau --help\n'],
    [
      ['--verison'],
      'there is no option --verison (did you mean --version?); see trousseau --help\n',
    ],
    [
      ['--config', 'x', 'serve'],
      'options stand behind the command: trousseau COMMAND [OPTIONS]; see trousseau --help\n',
    ],
    [
      ['-o', 'json', 'version'],
      'options stand behind the command: trousseau COMMAND [OPTIONS]; see trousseau --help\n',
    ],
    [['a\nb'], 'there is no command a?b; see trousseau --help\n'],
    [['x'.repeat(50)], `there is no command ${'x'.repeat(40)}...; see trousseau --help\n`],
    [['completion'], 'it takes one of bash, zsh, fish; see trousseau completion --help\n'],
    [
      ['completion', 'tcsh'],
      'there is no completion for tcsh: it takes one of bash, zsh, fish; see trousseau completion --help\n',
    ],
    [
      ['serve', '--config='],
      '--config needs a value that is not empty; see trousseau serve --help\n',
    ],
    [['help', 'srve'], 'there is no command srve (did you mean serve?); see trousseau --help\n'],
    [
      ['serve', '--confg', 'x'],
      'there is no option --confg (did you mean --config?); see trousseau serve --help\n',
    ],
    [
      ['serve', '--log-levl=debug'],
      'there is no option --log-levl (did you mean --log-level?); see trousseau serve --help\n',
    ],
    [['serve', '-x'], 'there is no option -x; see trousseau serve --help\n'],
    [
      ['serve', '--vault-token=s.x'],
      'there is no option --vault-token; see trousseau serve --help\n',
    ],
    [
      ['serve', '--config'],
      '--config needs a value: FILE (one that begins with a dash: --config=-...); see trousseau serve --help\n',
    ],
    [
      ['serve', '--config', '--log-level'],
      '--config needs a value: FILE (one that begins with a dash: --config=-...); see trousseau serve --help\n',
    ],
    [['serve', '--help=yes'], '--help takes no value; see trousseau serve --help\n'],
    [
      ['serve', '--log-level', 'loud'],
      '--log-level must be one of debug, info, warn, error; see trousseau serve --help\n',
    ],
    [
      ['serve', 'config.yaml'],
      'it takes no arguments: name the configuration with --config; see trousseau serve --help\n',
    ],
    [
      ['version', '-o', 'yaml'],
      '--output must be one of text, json; see trousseau version --help\n',
    ],
    [['version', 'of', 'what'], 'it takes no arguments; see trousseau version --help\n'],
  ] as const) {
    it(`ends with 2 and one line that helps: trousseau ${argv.join(' ')}`, async () => {
      assert.deepEqual(await trousseau(...argv), { code: 2, out: '', err: said });
    });
  }

  it('without a command ends with 2 and the list of commands', async () => {
    const { code, out, err } = await trousseau();
    assert.deepEqual([code, out], [2, '']);
    for (const { name, summary } of COMMANDS)
      assert.ok(err.includes(`${name}`) && err.includes(summary));
  });

  it('of whatever words never throws, and ends with 2 where no command was named', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ minLength: 1 }), fc.array(fc.string()), async (word, words) => {
        fc.pre(!['-h', '--help', '--version', '-V', 'help'].includes(word));
        fc.pre(!COMMANDS.some(({ name }) => name === word));
        assert.equal((await trousseau(word, ...words)).code, 2);
      }),
    );
  });
});

describe('any words behind a command that opens nothing', () => {
  const word = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 12 }),
    fc.constantFrom(
      ...['check', 'migrate', 'init', 'rotate', 'list', '/nowhere/file', '-', '--', 'bash'],
      ...['-o', 'json', '--output=json', '--output', '-ojson', '--write', '--text-only', '-h'],
      ...['--help', '--socket', '--seconds', '0', '-1', '--config', '--passphrase-file'],
    ),
  );

  it('end with a documented code, and with one line or more where it is not 0', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('config', 'keyring', 'version', 'completion', 'help'),
        fc.array(word, { maxLength: 5 }),
        async (name, words) => {
          // What would make a file where the words say so.
          fc.pre(!(name === 'keyring' && words.includes('init')));
          const { code, out, err } = await trousseau(name, ...words);
          assert.ok([0, 1, 2].includes(code), String(code));
          assert.ok(code === 0 ? out !== '' : err.endsWith('\n') || out.startsWith('{'));
          assert.doesNotMatch(err, /\bat .*:\d+:\d+\)|Error:|undefined/);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('help', () => {
  for (const argv of [['--help'], ['-h'], ['help']] as const) {
    it(`lists the commands: trousseau ${argv[0]}`, async () => {
      const { code, out, err } = await trousseau(...argv);
      assert.deepEqual([code, err], [0, '']);
      for (const { name, summary } of COMMANDS)
        assert.ok(out.includes(`  ${name}`) && out.includes(summary));
      assert.match(out, /trousseau COMMAND --help says more of one\./);
      for (const flag of ['-h, --help', '-V, --version']) assert.ok(out.includes(`  ${flag} `));
    });
  }

  for (const command of COMMANDS) {
    const { name, usage, description, examples, options } = command;
    for (const argv of [
      [name, '--help'],
      [name, '-h'],
      ['help', name],
    ]) {
      it(`of one command says all of it: trousseau ${argv.join(' ')}`, async () => {
        const { code, out, err } = await trousseau(...argv);
        assert.deepEqual([code, err], [0, '']);
        assert.ok(out.startsWith(description));
        for (const line of usage) assert.ok(out.includes(`  ${line}\n`));
        for (const option of [...Object.keys(options), 'help'])
          assert.ok(out.includes(`--${option}`));
        for (const [option, { choices = [] }] of Object.entries(options)) {
          const row = out.split('\n').find((line) => line.includes(` --${option} `)) ?? '';
          for (const choice of choices) assert.ok(row.includes(choice), `${row}: ${choice}`);
        }
        for (const example of examples)
          assert.ok(out.includes(`  # ${example.what}\n  ${example.command}\n`));
        assert.ok(out.trimEnd().endsWith(examples.at(-1)?.command ?? ''));
      });
    }

    it(`of ${name} names each of its options in the usage, or says that there are some`, () => {
      const all = usage.join(' ');
      for (const option of Object.keys(options))
        assert.ok(all.includes(`--${option}`) || all.includes('[OPTIONS]'), option);
    });

    it(`of ${name} wins over what else is asked, and fits 100 columns`, async () => {
      const { code, out } = await trousseau(name, 'this', '--help');
      assert.equal(code, 0);
      assert.deepEqual(
        out.split('\n').filter((line) => line.length > 100),
        [],
      );
    });
  }
});

describe('the version', () => {
  it('is one line', async () => {
    for (const flag of ['--version', '-V'])
      assert.deepEqual(await trousseau(flag), {
        code: 0,
        out: `trousseau ${VERSION}\n`,
        err: '',
      });
    const { code, out } = await trousseau('version');
    assert.equal(code, 0);
    assert.match(out, /^trousseau \S+ \(commit \S+, Node [\d.]+, OpenSSL [\d.]+\S*\)\n$/);
  });

  for (const flag of [['--output', 'json'], ['--output=json'], ['-o', 'json'], ['-ojson']]) {
    it(`is JSON for scripts: ${flag.join(' ')}`, async () => {
      const { code, out } = await trousseau('version', ...flag);
      assert.equal(code, 0);
      const facts = JSON.parse(out) as Readonly<Record<string, string>>;
      assert.deepEqual(Object.keys(facts), ['version', 'commit', 'node', 'openssl']);
      assert.equal(facts['version'], VERSION);
    });
  }
});

describe('serve without a configuration', () => {
  it('ends with 2 and the name of the file', async (t) => {
    const file = join(temporaryFolder(t), 'none.yaml');
    const { code, err } = await trousseau('serve', '--config', file);
    assert.equal(code, 2);
    assert.equal(err, `${file}: it does not exist\n`);
  });
});

it('a command that fails in a way it never should is not swallowed', async () => {
  const broken: Command = {
    name: 'broken',
    summary: '',
    usage: [],
    description: '',
    examples: [],
    options: {},
    run: () => Promise.reject(new Error('it broke')),
  };
  const io = {
    out: () => undefined,
    err: () => undefined,
    env: {},
    input: () => Promise.resolve(''),
  };
  await assert.rejects(runProgram([broken], ['broken'], io), /it broke/);
});
