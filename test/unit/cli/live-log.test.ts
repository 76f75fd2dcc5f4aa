import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createLiveLog } from '../../../src/cli/live-log.ts';
import { createLog, type Log, type LogLevel, type LogLine } from '../../../src/observe/log.ts';

function isOff(line: LogLine | undefined): boolean {
  return line === undefined;
}

it('a log that becomes another does so for all that were made from it', () => {
  const lines: string[] = [];
  const at = (level: LogLevel): Log =>
    createLog({ level, format: 'text', write: (line) => lines.push(line), now: () => 0 });
  const live = createLiveLog(at('warn'));
  const child = live.log.with({ provider: 'vault' }).with({ trial: true });
  assert.ok(isOff(child.info));
  live.become(at('debug'));
  child.info?.('seen');
  live.log.debug?.('seen too');
  live.become(at('error'));
  assert.ok(isOff(child.warn));
  child.error('always seen');
  assert.deepEqual(
    lines.map((line) => line.slice('1970-01-01T00:00:00.000Z '.length)),
    [
      'INFO  seen provider=vault trial=true\n',
      'DEBUG seen too\n',
      'ERROR always seen provider=vault trial=true\n',
    ],
  );
});
