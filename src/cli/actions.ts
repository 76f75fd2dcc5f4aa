/** The words of a command that has several actions, each on one FILE. */
import { nearest } from '../config/nearest.ts';
import type { Command } from './command.ts';
import { printed } from './printed.ts';

export type ActionCall<Action extends string> =
  | { readonly action: Action; readonly file: string }
  | { readonly problem: string };

/** Which action and file the words name, or what is wrong with them, as one line. */
export function actionCall<Action extends string>(
  { name }: Pick<Command, 'name'>,
  actions: readonly Action[],
  [word, file, ...tooMany]: readonly string[],
): ActionCall<Action> {
  const wrong = (what: string): ActionCall<Action> => ({
    problem: `${what}; see trousseau ${name} --help\n`,
  });
  const choice = `${actions.slice(0, -1).join(', ')} or ${actions.at(-1)}`;
  if (word === undefined) return wrong(`${name} takes an action: ${choice}`);
  const action = actions.find((known) => known === word);
  if (action === undefined) {
    const near = nearest(word, actions);
    const meant = near === undefined ? '' : ` (did you mean ${near}?)`;
    return wrong(`there is no ${name} ${printed(word)}${meant}: it takes ${choice}`);
  }
  if (file === undefined || file === '') return wrong(`${name} ${action} takes a FILE`);
  if (tooMany.length > 0)
    return wrong(`${name} ${action} takes one FILE; ${tooMany.length + 1} are given`);
  return { action, file };
}
