/** What is open on all connections together, and what of it is read, begun and answered in one turn. */
import { createPlaces, type PlaceLimits, type Places } from './places.ts';
import { createTurns, type TurnLimits, type Turns } from './turns.ts';

export type TrafficLimits = PlaceLimits & TurnLimits;

export type Traffic = Places & Turns;

/** Counts of which none has begun; `nextTurn` calls back in the next turn of the event loop. */
export function createTraffic(
  limits: TrafficLimits,
  nextTurn: (callback: () => void) => void = setImmediate,
): Traffic {
  const places = createPlaces(limits, () => turns.pauseAll());
  const turns = createTurns(limits, places.roomForStreams, nextTurn);
  return {
    ...places,
    ...turns,
    opened(connection) {
      const opened = places.opened(connection);
      if (opened !== 'refused') turns.opened(connection);
      return opened;
    },
    closed(connection) {
      places.closed(connection);
      turns.closed(connection);
    },
  };
}
