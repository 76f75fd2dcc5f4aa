/** A node whose cluster is k3s', in a booted machine: the server alone, without what runs containers. */
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { testServers } from '../../scripts/test-servers/binaries.ts';
import { systemctl, writeInside } from '../package/installation.ts';
import type { Machine } from '../package/nspawn.ts';
import { typed } from '../package/offline-document.ts';
import { ELSEWHERE } from '../package/own-namespaces.ts';
import { needBuilt } from '../package/servers-built.ts';

/** Where the machine finds the servers of the tests. */
const SERVERS = '/srv/servers';
const DATASTORE = '/var/lib/rancher/k3s/server/db/state.db';
const SECRETS = '/registry/secrets/';
const KUBECONFIG = 'export KUBECONFIG=/etc/rancher/k3s/k3s.yaml\n';

/** k3s.service of the root of k3s' sources. */
const UNIT = `[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-/etc/systemd/system/k3s.service.env
ExecStartPre=/bin/sh -xc '! /usr/bin/systemctl is-enabled --quiet nm-cloud-setup.service 2>/dev/null'
ExecStart=/usr/local/bin/k3s server
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s

[Install]
WantedBy=multi-user.target
`;

/** Everything off that our k3s does not have, or that would run in containers. */
const OWN = `disable-agent: true
disable-cloud-controller: true
disable-controller-manager: true
disable-helm-controller: true
disable-kube-proxy: true
disable-network-policy: true
disable-scheduler: true
disable: [coredns, local-storage, metrics-server, runtimes, servicelb, traefik]
egress-selector-mode: disabled
flannel-backend: none
node-ip: ${ELSEWHERE}
`;

export const K3S_SERVICE = 'k3s.service';

/** Throws where what it needs was not built. */
export function needK3s(): void {
  needBuilt(['k3s', 'kubectl']);
}

/** What a machine sees of this one, for bootMachine. */
export function k3sFolders(): Readonly<Record<string, string>> {
  return { [SERVERS]: dirname(testServers().k3s) };
}

/** A cluster of k3s; `default` is the namespace of what is written and read. */
export type K3s = {
  /** Types the commands with the kubeconfig that k3s has written. */
  administer(commands: string): Promise<string>;
  write(name: string, text: string): Promise<void>;
  /** What kube-apiserver says that is in a Secret. */
  read(name: string): Promise<string>;
  /** Every Secret of the cluster as it lies in the datastore: namespace and name, and what was written last. */
  stored(): ReadonlyMap<string, string>;
};

/**
 * Installs k3s in a machine that was booted in `dir`, with `more` lines in its own configuration, and starts
 * a new cluster.
 */
export async function startK3s(machine: Machine, dir: string, more: string): Promise<K3s> {
  const { k3s, kubectl } = testServers();
  for (const [program, path] of [
    [k3s, '/usr/local/bin/k3s'],
    [kubectl, '/usr/bin/kubectl'],
  ] as const)
    await machine.must(['ln', '-s', join(SERVERS, basename(program)), path]);
  await writeInside(machine, `/etc/systemd/system/${K3S_SERVICE}`, UNIT, 0o644);
  await writeInside(machine, '/etc/rancher/k3s/config.yaml', OWN + more, 0o600);
  await systemctl(machine, 'daemon-reload');
  await systemctl(machine, 'enable', '--now', K3S_SERVICE);
  const administer = (commands: string): Promise<string> =>
    machine.must(typed(KUBECONFIG + commands));
  return {
    administer,
    async write(name, text) {
      await administer(`kubectl create secret generic ${name} --from-literal=text='${text}'`);
    },
    async read(name) {
      const ask = `kubectl get secret ${name} -o jsonpath='{.data.text}'`;
      return Buffer.from(await administer(ask), 'base64').toString();
    },
    // In the layer, since SQLite takes no path through /proc/PID/root.
    stored: () => storedIn(join(dir, 'layer/root', DATASTORE)),
  };
}

function storedIn(datastore: string): ReadonlyMap<string, string> {
  using database = new DatabaseSync(datastore, { readOnly: true });
  const query = database.prepare(
    `SELECT name, value FROM kine AS newest WHERE name LIKE '${SECRETS}%' AND deleted = 0
     AND id = (SELECT max(id) FROM kine WHERE name = newest.name)`,
  );
  const rows = query.all() as unknown as readonly { name: string; value: Uint8Array }[];
  return new Map(
    rows.map(({ name, value }) => [
      name.slice(SECRETS.length),
      Buffer.from(value).toString('latin1'),
    ]),
  );
}
