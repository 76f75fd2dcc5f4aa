import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createLog, type LogFormat, type LogLevel } from '../../../src/observe/log.ts';

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
