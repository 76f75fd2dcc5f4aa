/**
 * A control-plane node as kubeadm makes it, with kubelet and containerd: the cluster that exists before
 * Trousseau comes. It has etcd and kube-apiserver, and nothing that runs pods of anybody else.
 */
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { testServers } from '../../../scripts/test-servers/binaries.ts';
import type { Shell } from '../../package/nspawn.ts';
import { needBuilt } from '../../package/servers-built.ts';
import { waitUntil } from '../../servers/wait-until.ts';
import { writeContainerImage } from './container-images.ts';

export const NODE_PACKAGES = ['busybox-static', 'containerd', 'curl', 'runc'] as const;

/** Where a node finds its own address: the emulated network has this one. */
const ADDRESS = '10.0.2.15';
/** An emulated processor takes a minute for it; minutes where the machine is busy. */
const UP_MS = 1_800_000;
/** Each kubectl takes a second of an emulated processor that others need. */
const POLL_MS = 3_000;
const PROGRAMS = ['kubeadm', 'kubectl', 'kubelet'] as const;
const IMAGES = '/srv/images';
/** As the packages of Kubernetes have it. */
const KUBELET_UNIT = `[Unit]
Description=kubelet: The Kubernetes Node Agent
Wants=network-online.target
After=network-online.target
[Service]
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/usr/bin/kubelet --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS
Restart=always
StartLimitInterval=0
RestartSec=10
[Install]
WantedBy=multi-user.target
`;
/**
 * Debian's, with systemd in charge of the control groups, as the kubelet below wants: where the two differ, sandboxes
 * of pods are ended and made again and again.
 */
const CONTAINERD_CONFIG = `version = 2
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = true
`;
const NODE_CONFIG = `apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
encryptionAlgorithm: ECDSA-P256
networking: {serviceSubnet: 10.97.0.0/16}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: ${ADDRESS}}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: systemd
`;
/** What `kubeadm init` does in these steps; the others are about pods. */
const PHASES = [
  'certs all',
  'kubeconfig all',
  'etcd local',
  'control-plane apiserver',
  'kubelet-start',
] as const;

/** Throws where something was not built. */
export function needKubernetes(): void {
  needBuilt(['etcd', 'kube-apiserver', 'kubeadm', 'kubectl', 'kubelet', 'vault-newest']);
}

/** Kubernetes' programs, kubelet's unit, and the images that a node without a network is given. */
export function layKubernetes(root: string): void {
  const servers = testServers();
  for (const name of PROGRAMS) {
    copyFileSync(servers[name], join(root, 'usr/bin', name));
    chmodSync(join(root, 'usr/bin', name), 0o755);
  }
  writeFileSync(join(root, 'etc/systemd/system/kubelet.service'), KUBELET_UNIT);
  writeFileSync(join(root, 'etc/containerd/config.toml'), CONTAINERD_CONFIG);
  writeFileSync(join(root, 'root/node.yaml'), NODE_CONFIG);
  mkdirSync(join(root, IMAGES));
  const busybox = { program: join(root, 'bin/busybox'), as: 'busybox' };
  const images = {
    // The first process of a PID namespace is ended only by what it handles itself.
    pause: {
      ...busybox,
      entrypoint: ['busybox', 'sh', '-c', 'trap exit TERM; busybox sleep infinity & wait'],
    },
    etcd: { program: servers.etcd, as: 'etcd', entrypoint: ['etcd'] },
    'kube-apiserver': {
      program: servers['kube-apiserver'],
      as: 'kube-apiserver',
      entrypoint: ['kube-apiserver'],
    },
  };
  for (const [name, image] of Object.entries(images))
    writeContainerImage(
      { name: `localhost/${name}:latest`, ...image },
      join(root, IMAGES, `${name}.tar`),
    );
}

/** Makes the control plane; resolves when kube-apiserver answers. */
export async function startControlPlane(node: Shell): Promise<void> {
  await node.must(['sh', '-ec', IMPORT]);
  const phases = PHASES.map((phase) => `kubeadm init phase ${phase} --config node.yaml`);
  await node.must(['sh', '-ec', ['cd /root', ...phases, 'systemctl enable kubelet'].join('\n')]);
  await apiServerIsUp(node);
  await node.must([
    'sh',
    '-ec',
    'cd /root && kubeadm init phase upload-config kubeadm --config node.yaml',
  ]);
}

/** Resolves when kube-apiserver says of itself that it is ready, in all checks or in the one named. */
export function apiServerIsUp(node: Shell, check = ''): Promise<void> {
  const kubectl = ['kubectl', '--kubeconfig', '/etc/kubernetes/super-admin.conf'];
  const isReady = async (): Promise<boolean> =>
    (await node.must([...kubectl, 'get', '--raw', `/readyz${check}`])).trim() === 'ok';
  return waitUntil(`kube-apiserver is ready ${check}`, UP_MS, isReady, POLL_MS);
}

/** Each under the name by which kubeadm and containerd know it. */
const IMPORT = `
for image in kube-apiserver etcd; do
  ctr --namespace k8s.io images import ${IMAGES}/$image.tar
  name=$(kubeadm config images list --kubernetes-version v1.36.3 | grep "/$image:")
  ctr --namespace k8s.io images tag localhost/$image:latest "$name"
done
ctr --namespace k8s.io images import ${IMAGES}/pause.tar
name=$(containerd config default | sed -n 's/.*sandbox_image = "\\(.*\\)"/\\1/p')
ctr --namespace k8s.io images tag localhost/pause:latest "$name"
`;
