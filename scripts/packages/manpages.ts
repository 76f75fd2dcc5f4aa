/** The man pages: trousseau(8), one for each command, and trousseau.yaml(5). */
import { readFileSync } from 'node:fs';
import { type Command, optionsOf, purposeOf } from '../../src/cli/command.ts';
import { allCommands, EXIT_CODES } from './commands.ts';
import { markdownBody } from './markdown-page.ts';
import { escapeText, inline, type PageTitle, page, pageHead, verbatim } from './roff.ts';

export type ManPage = {
  /** As `trousseau-serve.8`. */
  readonly file: string;
  readonly text: string;
};

type Edition = Pick<PageTitle, 'epoch' | 'version'>;

/** All pages of this version of the program. */
export async function manPages(edition: Edition): Promise<readonly ManPage[]> {
  const commands = await allCommands();
  return [
    programPage(commands, edition),
    ...commands.map((command) => commandPage(command, edition)),
    configurationPage(edition),
  ];
}

function programPage(commands: readonly Command[], edition: Edition): ManPage {
  const summary = 'Kubernetes KMS plugin that keeps the key in HashiCorp Vault';
  const list = commands.map(
    ({ name, summary: what }) => `.TP\n.BR trousseau\\-${name} (8)\n${escapeText(what)}\n`,
  );
  const text = `${pageHead({ name: 'trousseau', section: 8, summary, ...edition })}.SH SYNOPSIS
.B trousseau
.I COMMAND
.RI [ OPTIONS ]
.SH DESCRIPTION
Trousseau keeps the Secrets of a Kubernetes cluster encrypted by a key that it never holds itself.
kube\\-apiserver hands it data keys over a unix socket; Vault or OpenBao encrypts them.
.SH COMMANDS
${list.join('')}.SH OPTIONS
.TP
.BR \\-h ", " \\-\\-help
print the list of commands; after a command, its help
.TP
.BR \\-V ", " \\-\\-version
print the version
.SH FILES
.TP
.I /etc/trousseau/config.yaml
the configuration, see
.BR trousseau.yaml (5)
.TP
.I /run/trousseau/kms.sock
the socket for kube\\-apiserver
.TP
.I /run/trousseau/admin.sock
livez and readyz, over HTTP
.TP
.I /usr/share/doc/trousseau/README.md
the first of the documents; the others are in the folder docs beside it
.TP
.I /usr/share/doc/trousseau/docs/operations.md
what to do in an outage, and when a key is lost
.TP
.I /usr/share/doc/trousseau/docs/install-offline.md
how to upgrade, and what to decrypt before a removal
${exitStatus()}.SH SEE ALSO
${commands.map(({ name }) => `.BR trousseau\\-${name} (8),\n`).join('')}.BR trousseau.yaml (5)
`;
  return { file: 'trousseau.8', text: page(text) };
}

function commandPage(command: Command, edition: Edition): ManPage {
  const name = `trousseau-${command.name}`;
  const options = optionsOf(command).map(([long, option]) => {
    const { short, value } = option;
    const flags = [...(short === undefined ? [] : [`-${short}`]), `--${long}`];
    const bold = flags.map((flag) => `\\fB${escapeText(flag)}\\fR`).join(', ');
    const argument = value === undefined ? '' : ` \\fI${escapeText(value)}\\fR`;
    return `.TP\n${bold}${argument}\n${escapeText(purposeOf(option))}\n`;
  });
  const examples = command.examples.map(
    (example) =>
      `.PP\n${escapeText(`${example.what[0]?.toUpperCase()}${example.what.slice(1)}:`)}\n${verbatim([example.command])}`,
  );
  const text = `${pageHead({ name, section: 8, summary: command.summary, ...edition })}.SH SYNOPSIS
.nf
${command.usage.map(escapeText).join('\n')}
.fi
.SH DESCRIPTION
${inline(command.description)}
.SH OPTIONS
${options.join('')}.SH EXAMPLES
${examples.join('')}${exitStatus()}.SH SEE ALSO
.BR trousseau (8),
.BR trousseau.yaml (5)
`;
  return { file: `${name}.8`, text: page(text) };
}

function configurationPage(edition: Edition): ManPage {
  const summary = 'configuration of the Trousseau KMS plugin';
  const head = pageHead({ name: 'trousseau.yaml', section: 5, summary, ...edition });
  const body = markdownBody(readFileSync('docs/configuration.md', 'utf8'));
  const seeAlso =
    '.SH FILES\n.TP\n.I /usr/share/doc/trousseau/docs\nthe documents that this page names, and the JSON Schema in its folder schema\n' +
    '.SH SEE ALSO\n.BR trousseau (8),\n.BR trousseau\\-config (8)\n';
  return { file: 'trousseau.yaml.5', text: page(head, body, seeAlso) };
}

function exitStatus(): string {
  const rows = EXIT_CODES.map(([code, meaning]) => `.TP\n.B ${code}\n${escapeText(meaning)}\n`);
  return `.SH EXIT STATUS\n${rows.join('')}`;
}
