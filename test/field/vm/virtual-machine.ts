/**
 * A Debian with a kernel of its own, in QEMU without KVM: for what a container cannot show, as control
 * groups with all their controllers, AppArmor and a TPM.
 */
import { execFileSync } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ENVIRONMENT, identityArgs, type Shell, shellOf } from '../../package/nspawn.ts';
import { baseTree, layerAbove, type TreeKind } from '../../package/trees.ts';
import { logTail, type RunningProcess, startProcess } from '../../servers/process.ts';
import { waitUntil } from '../../servers/wait-until.ts';
import { connectGuestAgent, type GuestAgent } from './guest-agent.ts';

export type VirtualMachine = AsyncDisposable &
  Shell & {
    /** Shuts it down in order and boots it again; what is on its disk stays. */
    reboot(): Promise<void>;
  };

/** Its packages are beside systemd and the kernel; Debian 13 where no suite is named. */
export type Distribution = Pick<TreeKind, 'packages' | 'extent'> & Partial<Pick<TreeKind, 'suite'>>;

export type VirtualMachineOptions = {
  readonly distribution: Distribution;
  /** The test's own folder. */
  readonly dir: string;
  /** Puts files below `root`, before it boots. */
  readonly lay: (root: string) => void;
  /** What else the kernel is told. */
  readonly kernelLine?: string;
};

/** As this machine's loopback is known inside. */
export const HOST = '10.0.2.2';

const PACKAGES = [
  'dbus',
  'initramfs-tools',
  'linux-image-cloud-amd64',
  'passwd',
  'qemu-guest-agent',
  'systemd',
  'systemd-sysv',
  'udev',
];
const DISK_BYTES = 6 * 2 ** 30;
/** A minute on a processor of its own; where ten others want it, as many times that. */
const BOOT_LIMIT_MS = 1_800_000;
/** An emulated processor is ten times slower; kube-apiserver takes minutes on a busy machine. */
const RUN_LIMIT_MS = 1_800_000;
const NETWORK = `[Match]
Name=e*
[Network]
Address=10.0.2.15/24
`;
/**
 * The kernel counts ticks of an emulated timer at its start, and panics where a busy machine gives it too few. A kernel
 * that panics boots again, which a boot waits for.
 */
const KERNEL_LINE =
  'root=/dev/vda rw console=ttyS0 quiet random.trust_cpu=on no_timer_check panic=1 systemd.default_device_timeout_sec=900';

/** Made, if need be, where there is a network: before inOwnNamespaces lets tests run. */
export function virtualMachineTree({ packages, ...kind }: Distribution): string {
  return baseTree({ suite: 'trixie', ...kind, packages: [...PACKAGES, ...packages] });
}

/** Boots; resolves when systemd inside has started everything. */
export async function bootVirtualMachine(options: VirtualMachineOptions): Promise<VirtualMachine> {
  const { dir } = options;
  const tree = virtualMachineTree(options.distribution);
  const disk = join(dir, 'disk.img');
  await using undo = new AsyncDisposableStack();
  makeDisk(tree, disk, options.lay);
  undo.defer(() => rmSync(disk, { force: true }));
  // The paths of sockets must be short.
  const sockets = mkdtempSync(join(tmpdir(), 'vm-'));
  undo.defer(() => rmSync(sockets, { recursive: true, force: true }));
  const tpm = undo.use(await startTpm(dir, join(sockets, 'tpm')));
  const console = join(dir, 'console.log');
  const agentPath = join(sockets, 'agent');
  const parts = globSync(join(tree, 'boot/{vmlinuz,initrd.img}-*')).sort();
  const [initrd = '', kernel = ''] = parts;
  const machine = undo.use(
    await startProcess({
      program: 'qemu-system-x86_64',
      args: qemuArgs({
        ...{ kernel, initrd, disk, tpm: join(sockets, 'tpm'), agent: agentPath },
        line: `${KERNEL_LINE} ${options.kernelLine ?? ''}`,
      }),
      logFile: console,
    }),
  );
  let agent: GuestAgent | undefined;
  undo.defer(() => agent?.[Symbol.dispose]());
  /** Resolves when it runs, in another boot than `before`; answers the boot's id. */
  const booted = async (before: string): Promise<string> => {
    let id = before;
    try {
      await waitUntil('the boot', BOOT_LIMIT_MS, async () => {
        if (!machine.isRunning() || !tpm.isRunning()) return true;
        agent?.[Symbol.dispose]();
        agent = await connectGuestAgent(agentPath, ENVIRONMENT);
        const seen = await agent.exec(['cat', '/proc/sys/kernel/random/boot_id'], BOOT_LIMIT_MS);
        if (seen.out === before) throw new Error('it has not shut down yet');
        const { out } = await agent.exec(
          ['systemctl', 'is-system-running', '--wait'],
          BOOT_LIMIT_MS,
        );
        if (out.trim() !== 'running') throw new Error(`systemd says that it is ${out.trim()}`);
        id = seen.out;
        return true;
      });
    } catch (cause) {
      throw new Error(`it did not boot:\n${logTail(console)}`, { cause });
    }
    if (id === before) throw new Error(`it ended:\n${logTail(console)}`);
    return id;
  };
  let boot = await booted('');
  const run: Shell['run'] = async (argv, as) => {
    if (agent === undefined) throw new Error('the machine has ended');
    return await agent.exec(as === undefined ? argv : [...identityArgs(as), ...argv], RUN_LIMIT_MS);
  };
  const stack = undo.move();
  return {
    ...shellOf(run),
    async reboot() {
      agent?.reboot();
      boot = await booted(boot);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function makeDisk(tree: string, disk: string, lay: (root: string) => void): void {
  using layer = layerAbove(tree, mkdtempSync(join(tmpdir(), 'trousseau-vm-')));
  const { root } = layer;
  writeFileSync(join(root, 'etc/systemd/network/50-test.network'), NETWORK);
  // Debian's installer writes it, and containerd wants it.
  writeFileSync(join(root, 'etc/hosts'), '127.0.0.1 localhost vm\n');
  execFileSync('systemctl', ['--quiet', `--root=${root}`, 'enable', 'systemd-networkd'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  lay(root);
  writeFileSync(disk, '');
  truncateSync(disk, DISK_BYTES);
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', root, disk]);
}

async function startTpm(dir: string, socket: string): Promise<RunningProcess> {
  const state = join(dir, 'tpm');
  mkdirSync(state);
  const args = ['socket', '--tpm2', '--tpmstate', `dir=${state}`];
  return await startProcess({
    program: 'swtpm',
    args: [...args, '--ctrl', `type=unixio,path=${socket}`, '--flags', 'startup-clear'],
    logFile: join(dir, 'tpm.log'),
  });
}

type Parts = Readonly<Record<'kernel' | 'initrd' | 'line' | 'disk' | 'tpm' | 'agent', string>>;

function qemuArgs({ kernel, initrd, line, disk, tpm, agent }: Parts): readonly string[] {
  return [
    ['-machine', 'q35', '-accel', 'tcg,thread=multi,tb-size=512', '-cpu', 'max'],
    ['-smp', '2', '-m', '4G', '-nodefaults', '-display', 'none', '-serial', 'stdio'],
    ['-kernel', kernel, '-initrd', initrd, '-append', line],
    ['-drive', `file=${disk},format=raw,if=virtio,cache=unsafe`],
    ['-nic', 'user,model=virtio-net-pci'],
    ['-chardev', `socket,id=tpm,path=${tpm}`, '-tpmdev', 'emulator,id=tpm,chardev=tpm'],
    ['-device', 'tpm-crb,tpmdev=tpm', '-device', 'virtio-serial'],
    ['-chardev', `socket,id=agent,path=${agent},server=on,wait=off`],
    ['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
  ].flat();
}
