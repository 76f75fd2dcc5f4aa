import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { concurrencyOf, planOf, secondsOf } from '../../../src/cli/bench/plan.ts';
import { socketAdvice } from '../../../src/cli/bench/socket.ts';
import { benchCommand } from '../../../src/cli/bench.ts';
import { runProgram } from '../../../src/cli/run.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import type { Outcome } from './fixtures.ts';

async function bench(...argv: readonly string[]): Promise<Outcome> {
  const said = { out: '', err: '' };
  const code = await runProgram([benchCommand], ['bench', ...argv], {
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    env: {},
    input: () => Promise.resolve(''),
  });
  return { code, ...said };
}

describe('what trousseau bench is asked for', () => {
  const plan = (options: Record<string, string>) => planOf({ options, positionals: [] });

  it('is short where nothing is said', () => {
    assert.deepEqual(plan({ config: 'c.yaml' }), {
      seconds: 5,
      concurrency: [1, 16, 64],
      socket: undefined,
      direct: { from: 'config', file: 'c.yaml' },
    });
    assert.deepEqual(plan({ socket: '/kms.sock', seconds: '0.5', concurrency: '8' }), {
      seconds: 0.5,
      concurrency: [8],
      socket: '/kms.sock',
      direct: undefined,
    });
  });

  it('takes Vault by flags, with paths as the person meant them', () => {
    const flags = { vault: 'http://127.0.0.1:8200', key: 'k' };
    const from = { from: 'flags', address: flags.vault, key: 'k' } as const;
    for (const [more, expected] of [
      [{ 'token-file': '/t' }, { mount: 'transit', tokenFile: '/t' }],
      [
        { 'token-file': 't', mount: 'm' },
        { mount: 'm', tokenFile: join(process.cwd(), 't') },
      ],
      [{ 'token-file': 'credential:t' }, { mount: 'transit', tokenFile: 'credential:t' }],
    ] as const) {
      const made = plan({ ...flags, ...more });
      assert.deepEqual('direct' in made && made.direct, { ...from, ...expected });
    }
  });

  for (const [argv, said] of [
    [[], 'name what to measure: --config FILE, --socket PATH or both'],
    [['/kms.sock'], 'it takes no arguments'],
    [
      ['--config', 'c', '--vault', 'v', '--key', 'k'],
      '--config and --vault, --key exclude each other',
    ],
    [['--vault', 'v'], '--vault, --key and --token-file belong together'],
    [['--socket', 's', '--mount', 'm'], '--vault, --key and --token-file belong together'],
    [['--socket', 's', '--seconds', '0'], '--seconds must be a number from 0.1 to 3600'],
    [['--socket', 's', '--seconds', '5s'], '--seconds must be a number from 0.1 to 3600'],
    [
      ['--socket', 's', '--concurrency', '1,,2'],
      '--concurrency must be up to 16 different whole numbers from 1 to 512 with commas between them, such as 1,16,64',
    ],
  ] as const) {
    it(`is refused: ${argv.join(' ') || 'nothing'}`, async () => {
      const { code, out, err } = await bench(...argv);
      assert.deepEqual([code, out, err], [2, '', `${said}; see trousseau bench --help\n`]);
    });
  }

  it('is refused by the flag that is wrong, not by a field nobody wrote', async () => {
    const flags = [
      '--vault',
      'vault.example',
      '--key',
      'a b',
      '--token-file',
      '/t',
      '--mount',
      '..',
    ];
    const { code, err } = await bench(...flags);
    assert.equal(code, 2);
    for (const flag of ['--vault', '--key', '--mount'])
      assert.match(err, new RegExp(`^${flag}: must `, 'm'));
    assert.doesNotMatch(err, /providers/);
    const plain = await bench(
      '--vault',
      'http://vault.example',
      '--key',
      'k',
      '--token-file',
      '/t',
    );
    assert.equal(plain.code, 2);
    assert.match(plain.err, /^--vault: is plain http to another host/);
  });

  it('has any list of different numbers in bounds, in its order, and no other text', () => {
    const lists = fc.uniqueArray(fc.integer({ min: 1, max: 512 }), { minLength: 1, maxLength: 16 });
    fc.assert(fc.property(lists, (list) => assert.deepEqual(concurrencyOf(list.join(',')), list)));
    for (const text of ['', '0', '513', '1.5', '-1', '1,1', '1;2', '1e2', '0x10', '01', ' ,1'])
      assert.equal(concurrencyOf(text), undefined, text);
    assert.equal(concurrencyOf(Array.from({ length: 17 }, (_, i) => i + 1).join()), undefined);
    fc.assert(
      fc.property(fc.string(), (text) => {
        const numbers = concurrencyOf(text);
        assert.ok(numbers?.every((n) => Number.isInteger(n) && n >= 1 && n <= 512) ?? true);
      }),
    );
  });

  it('has seconds in bounds, and no other text', () => {
    const inBounds = fc.integer({ min: 1, max: 36_000 });
    fc.assert(
      fc.property(inBounds, (tenths) => assert.equal(secondsOf(`${tenths / 10}`), tenths / 10)),
    );
    for (const text of ['', '0', '0.05', '3601', '-1', 'Infinity', '1e1', ' 1', '1.', '.5'])
      assert.equal(secondsOf(text), undefined, text);
  });
});

describe('a socket that cannot be measured', () => {
  it('is not there', async (t) => {
    const socket = join(temporaryFolder(t), 'kms.sock');
    const { code, out, err } = await bench('--socket', socket);
    assert.deepEqual([code, out], [1, '']);
    assert.match(err, /^there is no socket at .*kms\.sock: is the plugin running/);
  });

  it('is a file', async (t) => {
    const file = join(temporaryFolder(t), 'kms.sock');
    writeFileSync(file, '');
    const { code, err } = await bench('--socket', file);
    assert.equal(code, 1);
    assert.match(err, /kms\.sock is not a socket: name listen\.socket/);
  });

  it('belongs to somebody who does not speak KMS', async (t) => {
    const socket = join(temporaryFolder(t), 'kms.sock');
    const server = createServer((connection) => {
      connection.on('error', () => undefined); // the client hangs up on what it does not understand
      connection.end('HTTP/1.1 400 no\r\n\r\n');
    });
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    t.after(() => server.close());
    const { code, err } = await bench('--socket', socket);
    assert.equal(code, 1);
    assert.match(err, /is not ready: .*; its \/readyz says more/);
  });

  it('is explained by what can be done about it', () => {
    for (const [code, said] of [
      ['ENOENT', /is the plugin running/],
      ['EACCES', /run this as root or as the user that runs the plugin/],
      ['EPERM', /permission denied/],
      ['ECONNREFUSED', /start it again/],
      ['EMFILE', /cannot connect to \/s: EMFILE/],
      [undefined, /cannot connect to \/s: unknown error/],
    ] as const)
      assert.match(socketAdvice('/s', code), said);
  });

  it('is not asked where the configuration is wrong', async (t) => {
    const file = join(temporaryFolder(t), 'c.yaml');
    writeFileSync(file, 'kind: none\n');
    const { code, out, err } = await bench('--config', file);
    assert.deepEqual([code, out], [2, '']);
    assert.match(err, /c\.yaml:1:1: kind: must be/);
  });
});
