/** With what each row of the limits table is driven: one that has nothing here does not compile. */
import type { LimitName } from '../../scripts/limits-table.ts';
import type { BoundRow } from './row.ts';
import * as calls from './rows-calls.ts';
import * as connections from './rows-connections.ts';
import * as messages from './rows-messages.ts';
import * as provider from './rows-provider.ts';

const ROWS: Readonly<Record<LimitName, () => readonly BoundRow[]>> = {
  idle: () => [connections.idle],
  connections: () => [connections.manyConnections],
  'bytes before calls': () => [connections.bytesBeforeCalls],
  'time before calls': () => [connections.timeBeforeCalls],
  headers: () => [calls.headers],
  'calls of one': () => [calls.callsOfOne],
  'calls of all': () => [calls.callsOfAll],
  'ending streams': () => [calls.endingStreams],
  'time of a call': () => [calls.timeOfACall],
  'one message': () => [messages.oneMessage, messages.pieces],
  compressed: () => [messages.compressed],
  'bytes of all': () => [messages.bytesOfAll, messages.unreadAnswers],
  'frames in a turn': () => [calls.framesInATurn],
  'calls in a turn': () => [calls.callsInATurn, calls.pipelinedCalls],
  'connections in a turn': () => [connections.connectionsInATurn],
  resets: () => [calls.resets, calls.resetsOfCalls],
  'waiting calls': () => [provider.waitingCalls],
  requests: () => [provider.requests()],
  'answer of Vault': () => [provider.answerOfVault()],
  cache: () => [provider.cache],
  'asked again': () => [provider.askedAgain()],
  'admin connections': () => [connections.adminConnections],
};

/** Of the row with this name, in the order of their floods. */
export function rowsOf(name: LimitName): readonly BoundRow[] {
  return ROWS[name]();
}
