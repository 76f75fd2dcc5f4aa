/** Completions for bash, zsh and fish, from the commands as data. */
import { type Command, type CommandOption, optionsOf } from './command.ts';

/** `bash-completion` sources it as /usr/share/bash-completion/completions/trousseau. */
export function bashCompletion(commands: readonly Command[]): string {
  const cases = commands.map((command) => {
    const flags = optionsOf(command).map(([name]) => `--${name}`);
    return `    ${command.name})
      words='${[...(command.actions ?? []), ...flags].join(' ')}'
      ;;`;
  });
  const values = distinctOptions(commands)
    .filter(({ option }) => option.type === 'string')
    .map(({ name, option }) => {
      const flags = [`--${name}`, ...(option.short === undefined ? [] : [`-${option.short}`])];
      return `    ${flags.join(' | ')})
      ${bashValue(option)}
      return
      ;;`;
    });
  return `# bash completion for trousseau; made from the program's commands.
_trousseau() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} words=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W '${commands.map(({ name }) => name).join(' ')} help' -- "$current")
    return
  fi
  case "$previous" in
${values.join('\n')}
  esac
  case "\${COMP_WORDS[1]}" in
    help)
      words='${commands.map(({ name }) => name).join(' ')}'
      ;;
${cases.join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  if [ "\${#COMPREPLY[@]}" -eq 0 ]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -o filenames -F _trousseau trousseau
`;
}

/** zsh autoloads it from a folder of fpath as _trousseau. */
export function zshCompletion(commands: readonly Command[]): string {
  const list = commands.map(({ name, summary }) => `    ${zshQuote(`${name}:${summary}`)}`);
  const cases = commands.map((command) => {
    const options = optionsOf(command).map(([name, option]) => zshOption(name, option));
    const { actions = [] } = command;
    const first = actions.length === 0 ? [] : [zshQuote(`1:action:(${actions.join(' ')})`)];
    const lines = [...first, ...options, zshQuote('*:file:_files')];
    return `    (${command.name})\n      _arguments -s ${lines.join(' \\\n        ')}\n      ;;`;
  });
  return `#compdef trousseau
# Made from the program's commands.
_trousseau() {
  local -a commands
  commands=(
${list.join('\n')}
    'help:say more of a command'
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
    (help)
      _describe command commands
      ;;
${cases.join('\n')}
  esac
}
_trousseau "$@"
`;
}

/** fish reads it from vendor_completions.d as trousseau.fish. */
export function fishCompletion(commands: readonly Command[]): string {
  const lines = commands.flatMap((command) => {
    const here = `-n '__fish_seen_subcommand_from ${command.name}'`;
    const actions = (command.actions ?? []).map(
      (action) => `complete -c trousseau ${here} -a ${fishQuote(action)}`,
    );
    const options = optionsOf(command).map(([name, option]) => {
      const short = option.short === undefined ? '' : ` -s ${option.short}`;
      const value = option.type === 'string' ? ' -r' : '';
      const choices =
        option.choices === undefined ? '' : ` -f -a ${fishQuote(option.choices.join(' '))}`;
      return `complete -c trousseau ${here} -l ${name}${short}${value}${choices} -d ${fishQuote(option.what)}`;
    });
    return [
      `complete -c trousseau -n __fish_use_subcommand -f -a ${command.name} -d ${fishQuote(command.summary)}`,
      ...actions,
      ...options,
    ];
  });
  return `# Made from the program's commands.\n${lines.join('\n')}\n`;
}

/** One of each name: where two commands share an option, it takes the same values. */
function distinctOptions(
  commands: readonly Command[],
): readonly { readonly name: string; readonly option: CommandOption }[] {
  const all = new Map(commands.flatMap((command) => optionsOf(command)));
  return [...all].map(([name, option]) => ({ name, option }));
}

function bashValue({ choices, value }: CommandOption): string {
  if (choices !== undefined) {
    return `mapfile -t COMPREPLY < <(compgen -W '${choices.join(' ')}' -- "$current")`;
  }
  return isPath(value) ? 'mapfile -t COMPREPLY < <(compgen -f -- "$current")' : ':';
}

function zshOption(name: string, { type, short, value, what, choices }: CommandOption): string {
  const text = what.replace(/[[\]:\\]/g, '\\$&');
  const values =
    choices === undefined ? (isPath(value) ? '_files' : ' ') : `(${choices.join(' ')})`;
  const argument = type === 'string' ? `:${(value ?? name).toLowerCase()}:${values}` : '';
  const long = zshQuote(`--${name}${type === 'string' ? '=' : ''}[${text}]${argument}`);
  return short === undefined ? long : `${zshQuote(`-${short}[${text}]${argument}`)} ${long}`;
}

function isPath(value: string | undefined): boolean {
  return value === 'FILE' || value === 'PATH';
}

function zshQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function fishQuote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
