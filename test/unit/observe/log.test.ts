import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { describe, it } from 'node:test';
import {
  asErrors,
  createLog,
  isJournal,
  type LogFormat,
  type LogLevel,
} from '../../../src/observe/log.ts';

function logTo(lines: string[], level: LogLevel, format: LogFormat) {
  return createLog({ level, format, write: (line) => void lines.push(line), now: () => 0 });
}

describe('a log line', () => {
  it('is one JSON object, for machines', () => {
    const lines: string[] = [];
    logTo(lines, 'info', 'json')
      .with({ provider: 'vault' })
      .info?.('key announced', { keyVersion: 3, why: undefined });
    assert.deepEqual(lines, [
      '{"time":"1970-01-01T00:00:00.000Z","level":"info","msg":"key announced","provider":"vault","keyVersion":3}\n',
    ]);
  });

  it('is key=value text, for people', () => {
    const lines: string[] = [];
    logTo(lines, 'info', 'text').warn?.('provider unavailable', {
      why: 'Vault is sealed',
      code: 503,
    });
    assert.deepEqual(lines, [
      '1970-01-01T00:00:00.000Z WARN  provider unavailable why="Vault is sealed" code=503\n',
    ]);
  });

  for (const format of ['json', 'text'] as const) {
    it(`stays one line whatever is in it (${format})`, () => {
      const lines: string[] = [];
      logTo(lines, 'info', format).error('a\nb', { uid: 'x\r\ny=z "q"' });
      assert.equal(lines[0]?.indexOf('\n'), (lines[0]?.length ?? 0) - 1);
    });
  }
});

/** What a terminal or a viewer obeys instead of showing. */
const UNPRINTABLE = [
  ...Array.from({ length: 0x20 }, (_, i) => i),
  ...Array.from({ length: 0x21 }, (_, i) => 0x7f + i),
  ...[0xad, 0x61c, 0x200b, 0x200e, 0x200f, 0x2028, 0x2029, 0xfeff, 0xfff9, 0xd800, 0xdfff, 0xe000],
  ...Array.from({ length: 5 }, (_, i) => 0x202a + i),
  ...Array.from({ length: 4 }, (_, i) => 0x2066 + i),
  0xe0001,
].map((code) => String.fromCodePoint(code));

describe('what a terminal would obey', () => {
  for (const format of ['json', 'text'] as const) {
    it(`is escaped, in messages, names and values (${format})`, () => {
      for (const character of UNPRINTABLE) {
        const lines: string[] = [];
        const value = `x${character}y`;
        logTo(lines, 'info', format).error(value, { uid: value, [value]: 1 });
        assert.doesNotMatch(lines[0]?.slice(0, -1) ?? '', /[\p{C}\p{Zl}\p{Zp}]/u);
        if (format === 'text') continue;
        const { msg, uid, [value]: named } = JSON.parse(lines[0] ?? '');
        assert.deepEqual([msg, uid, named], [value, value, 1]);
      }
    });

    it(`leaves other scripts readable (${format})`, () => {
      const lines: string[] = [];
      logTo(lines, 'info', format).error('x', { uid: 'Grüße, 鍵 🔑' });
      assert.match(lines[0] ?? '', /Grüße, 鍵 🔑/);
    });
  }
});

describe('the severity of a line', () => {
  for (const [level, prefix] of [
    ['debug', '<7>'],
    ['info', '<6>'],
    ['warn', '<4>'],
    ['error', '<3>'],
  ] as const) {
    it(`is ${prefix} at ${level} where the journal reads it, and nowhere else`, () => {
      for (const format of ['json', 'text'] as const) {
        for (const severity of [true, false]) {
          const lines: string[] = [];
          const write = (line: string): void => void lines.push(line);
          createLog({ level: 'debug', format, write, severity }).with({ a: 1 })[level]?.('x');
          assert.equal(/^<\d>/.exec(lines[0] ?? '')?.[0], severity ? prefix : undefined);
        }
      }
    });
  }

  it('is put before each line of another text', () => {
    assert.equal(asErrors('a\nb\n'), '<3>a\n<3>b\n');
  });

  it('is wanted where $JOURNAL_STREAM is what the descriptor leads to', () => {
    const fd = openSync('/dev/null', 'w');
    const { dev, ino } = fstatSync(fd);
    for (const [stream, expected] of [
      [`${dev}:${ino}`, true],
      [`${dev}:${ino + 1}`, false],
      ['', false],
      [undefined, false],
    ] as const)
      assert.equal(isJournal({ JOURNAL_STREAM: stream }, fd), expected);
    closeSync(fd);
    assert.equal(isJournal({ JOURNAL_STREAM: `${dev}:${ino}` }, fd), false);
  });
});

describe('a level that is off', () => {
  for (const [level, off] of [
    ['debug', []],
    ['info', ['debug']],
    ['warn', ['debug', 'info']],
    ['error', ['debug', 'info', 'warn']],
  ] as const) {
    it(`at ${level}, costs nothing: ${off.join(', ') || 'none'} is undefined`, () => {
      const log = logTo([], level, 'json');
      assert.deepEqual(
        (['debug', 'info', 'warn'] as const).filter((name) => log[name] === undefined),
        off,
      );
    });
  }
});
