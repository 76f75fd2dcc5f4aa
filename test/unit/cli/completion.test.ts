import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { COMMANDS } from '../../../src/cli/commands.ts';
import { trousseau } from './fixtures.ts';

/** What bash offers for the last of these words, as it calls the function of the script. */
async function offered(...words: readonly string[]): Promise<readonly string[]> {
  const { out } = await trousseau('completion', 'bash');
  const program = `${out}
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_trousseau
printf "%s\\n" "\${COMPREPLY[@]}"`;
  const said = execFileSync('bash', ['-uc', program, 'bash', 'trousseau', ...words], {
    encoding: 'utf8',
    cwd: import.meta.dirname,
  });
  return said.split('\n').filter((line) => line !== '');
}

describe('completion in bash', () => {
  for (const [words, expected] of [
    [[''], [...COMMANDS.map(({ name }) => name), 'help']],
    [['ke'], ['keyring']],
    [['config', 'mi'], ['migrate']],
    [
      ['config', 'check', '--'],
      ['--output', '--text-only', '--user', '--write', '--help'],
    ],
    [['config', 'check', '-o'], []],
    [
      ['config', 'check', '--output', ''],
      ['text', 'json'],
    ],
    [['serve', '--log-level', 'd'], ['debug']],
    [['serve', '--log-f'], ['--log-format']],
    [['config', 'check', 'completion.t'], ['completion.test.ts']],
    [['completion', 'b'], ['bash']],
    [['help', 'v'], ['version']],
    [['nothing', '--'], []],
  ] as const) {
    it(`of ${JSON.stringify(words)}`, async () => {
      assert.deepEqual([...(await offered(...words))].sort(), [...expected].sort());
    });
  }
});

describe('completion in the other shells', () => {
  it('in zsh has each command, action and option', async () => {
    const { out } = await trousseau('completion', 'zsh');
    assert.match(out, /^#compdef trousseau\n/);
    for (const { name, actions = [], options } of COMMANDS) {
      const part = out.split(`    (${name})\n`)[1]?.split(';;')[0] ?? '';
      if (actions.length > 0) assert.ok(part.includes(`:(${actions.join(' ')})`), name);
      for (const option of Object.keys(options)) assert.ok(part.includes(`--${option}`), option);
    }
  });

  it('in fish has each command, action and option, its quotes closed', async () => {
    const { out } = await trousseau('completion', 'fish');
    for (const { name, actions = [], options } of COMMANDS) {
      assert.ok(out.includes(` -a ${name} -d `));
      const lines = out.split('\n').filter((line) => line.includes(`_from ${name}'`));
      for (const action of actions)
        assert.ok(lines.some((line) => line.endsWith(` -a '${action}'`)));
      for (const option of Object.keys(options))
        assert.ok(
          lines.some((line) => line.includes(` -l ${option} `)),
          option,
        );
    }
    for (const line of out.split('\n').slice(1))
      assert.equal(line.replaceAll(/\\./g, '').replaceAll(/[^']/g, '').length % 2, 0, line);
  });
});
