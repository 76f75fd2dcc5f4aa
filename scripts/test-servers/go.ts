/** The Go toolchain: is it there, and running it with signs of life. */
import { spawn, spawnSync } from 'node:child_process';

/** Kubernetes 1.36 asks for it in its go.mod. */
const OLDEST_GO = { major: 1, minor: 26 };

const HEARTBEAT_MS = 30_000;

/** How many lines of the compiler's output an error shows: the cause is at its end. */
const TAIL_LINES = 40;

/** The flags of every build; they are part of a binary's identity. */
export const BUILD_FLAGS = ['-trimpath', '-mod=mod', '-buildvcs=false'] as const;

/**
 * The environment of every build. Checksums of old modules are not served everywhere, so what the
 * pinned module's own go.sum does not list is taken on trust.
 */
const BUILD_ENV = {
  CGO_ENABLED: '0',
  GONOSUMDB: '*',
  GOFLAGS: '',
  GOTOOLCHAIN: 'local',
  GOWORK: 'off',
} as const;

let version: string | undefined;

/** The toolchain's version, as `go1.26.8`; throws, with what to do, where there is none to use. */
export function goVersion(): string {
  version ??= readGoVersion();
  return version;
}

function readGoVersion(): string {
  const wanted = `Go ${OLDEST_GO.major}.${OLDEST_GO.minor} or newer`;
  const remedy = `Install ${wanted}, or run \`make test-unit\`, which needs no Go.`;
  const { stdout, error } = spawnSync('go', ['env', 'GOVERSION'], {
    cwd: '/',
    encoding: 'utf8',
    env: { ...process.env, ...BUILD_ENV },
  });
  if (error !== undefined) {
    throw new Error(
      `The servers for the tests are built with Go, and there is no \`go\` in PATH. ${remedy}`,
    );
  }
  const found = stdout.trim();
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(found) ?? [];
  if (Number(major) === OLDEST_GO.major && Number(minor) >= OLDEST_GO.minor) return found;
  throw new Error(
    `The servers for the tests are built with ${wanted}, and this is ${found}. ${remedy}`,
  );
}

/**
 * Runs `go ...args` in a folder; answers what it wrote to standard output. While it runs, `alive` is
 * called every 30 s. Rejects with the tail of its error output.
 */
export async function go(
  cwd: string,
  args: readonly string[],
  alive: () => void = () => undefined,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const heartbeat = setInterval(alive, HEARTBEAT_MS);
  try {
    return await new Promise((resolve, reject) => {
      const child = spawn('go', args, {
        cwd,
        env: { ...process.env, ...BUILD_ENV, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let stdout = '';
      let stderr = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text;
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
      });
      child.on('error', reject);
      child.on('close', (code, signal) => {
        if (code === 0) resolve(stdout);
        else reject(new Error(`go ${args.join(' ')} failed (${signal ?? code}):\n${tail(stderr)}`));
      });
    });
  } finally {
    clearInterval(heartbeat);
  }
}

function tail(text: string): string {
  const lines = text.trimEnd().split('\n');
  return lines
    .filter((line) => !line.startsWith('go: downloading'))
    .slice(-TAIL_LINES)
    .join('\n');
}
