/** What is built for the tests, as data: the real servers, and Kubernetes' own KMS clients. */

/** One program, built from a module as the module proxy serves it. */
export type Target = {
  /** Module with the server; our own go.mod starts as a copy of its go.mod. */
  readonly module: string;
  readonly version: string;
  /** The module's hash as in go.sum; with it goes the go.sum that it brings along. */
  readonly sum: string;
  /** Folders of test/servers/go that are built: the first is `main`, others are packages of it. */
  readonly sources: readonly [string, ...string[]];
  /** The version that stands in for modules which the go.mod takes from its own tree, or from `fork`. */
  readonly siblings?: string;
  /** A fork that the module proxy does not serve: what the go.mod takes from it comes from upstream. */
  readonly fork?: string;
  /** A module of which the server needs more than it has. */
  readonly extended?: Extended;
  readonly tags?: readonly string[];
  /** Has C in it: built with a C compiler, and linked statically, so that it runs in any tree. */
  readonly cgo?: true;
  /** Variables that are set at link time. */
  readonly variables?: Readonly<Record<string, string>>;
};

/** A module as it is served, and what is added to one of its packages. */
export type Extended = {
  readonly module: string;
  readonly version: string;
  readonly sum: string;
  /** Paths inside it, and Go source. */
  readonly files: Readonly<Record<string, string>>;
};

/** Without a version the programs take themselves for 0.0: kube-apiserver turns every feature off. */
const KUBERNETES_VERSION = {
  'k8s.io/component-base/version.gitVersion': 'v1.36.3',
  'k8s.io/component-base/version.gitMajor': '1',
  'k8s.io/component-base/version.gitMinor': '36',
};

export const TARGETS = {
  'vault-newest': {
    module: 'github.com/hashicorp/vault',
    version: 'v1.21.1',
    sum: 'h1:4bYxh55jSitPOs5+iPshEdDhBLeXCm6BjGDIV1vYzys=',
    sources: ['vault-newest'],
    tags: ['minimal'],
  },
  'kube-apiserver': {
    module: 'k8s.io/kubernetes',
    version: 'v1.36.3',
    sum: 'h1:qDQdoMiluAE2Eab6Fa52YV+WjiGz9mZFFoagEA6cI+o=',
    sources: ['kube-apiserver'],
    siblings: 'v0.36.3',
    variables: KUBERNETES_VERSION,
  },
  kubeadm: {
    module: 'k8s.io/kubernetes',
    version: 'v1.36.3',
    sum: 'h1:qDQdoMiluAE2Eab6Fa52YV+WjiGz9mZFFoagEA6cI+o=',
    sources: ['kubeadm'],
    siblings: 'v0.36.3',
    variables: KUBERNETES_VERSION,
  },
  kubelet: {
    module: 'k8s.io/kubernetes',
    version: 'v1.36.3',
    sum: 'h1:qDQdoMiluAE2Eab6Fa52YV+WjiGz9mZFFoagEA6cI+o=',
    sources: ['kubelet'],
    siblings: 'v0.36.3',
    variables: KUBERNETES_VERSION,
  },
  'vault-oldest': {
    module: 'github.com/hashicorp/vault',
    version: 'v1.9.3',
    sum: 'h1:dc3moxoDHuT1gMwKsyqo0STIV+6X+kJVcfQGRCv7UTg=',
    sources: ['vault-oldest'],
  },
  etcd: {
    module: 'go.etcd.io/etcd/server/v3',
    version: 'v3.6.13',
    sum: 'h1:gEGFSiJlYwzhvhZjfglj1oqe2LG8bmX47hSizwedAOs=',
    sources: ['etcd'],
  },
  kubectl: {
    module: 'k8s.io/kubectl',
    version: 'v0.36.3',
    sum: 'h1:TesKp+XYQEjPYoFvuobcVnuvira2+/xAVlq//+kksaI=',
    sources: ['kubectl'],
  },
  'k3s-config': {
    module: 'github.com/k3s-io/k3s',
    // Of December 2025; k3s' own names of releases, as v1.34.3+k3s1, are no versions to Go.
    version: 'v1.33.0-rc1.0.20251210002518-764e98cbb4c1',
    sum: 'h1:XyGAx3U93s6EYn+uPoVzmT1ZFB1b2GTZGXjf6H6N+Cg=',
    sources: ['k3s-config'],
  },
  k3s: {
    module: 'github.com/k3s-io/k3s',
    version: 'v1.33.0-rc1.0.20251210002518-764e98cbb4c1',
    sum: 'h1:XyGAx3U93s6EYn+uPoVzmT1ZFB1b2GTZGXjf6H6N+Cg=',
    sources: ['k3s'],
    siblings: 'v0.34.2',
    fork: 'github.com/k3s-io/kubernetes',
    extended: {
      module: 'k8s.io/kubernetes',
      version: 'v1.34.2',
      sum: 'h1:WQdDvYJazkmkwSncgNwGvVtaCt4TYXIU3wSMRgvp3MI=',
      // k3s sets this variable of its fork; there it is for requests to kubelets, which are not here.
      files: {
        'pkg/registry/core/node/fork.go': 'package node\n\nvar DisableProxyHostnameCheck bool\n',
      },
    },
    // Those of its own scripts/build which concern a server without agent.
    tags: ['netgo', 'osusergo', 'providerless', 'sqlite_omit_load_extension'],
    cgo: true,
    variables: {
      'k8s.io/component-base/version.gitVersion': 'v1.34.2',
      'k8s.io/component-base/version.gitMajor': '1',
      'k8s.io/component-base/version.gitMinor': '34',
    },
  },
  toxiproxy: {
    module: 'github.com/Shopify/toxiproxy/v2',
    version: 'v2.12.0',
    sum: 'h1:d1x++lYZg/zijXPPcv7PH0MvHMzEI5aX/YuUi/Sw+yg=',
    sources: ['toxiproxy'],
  },
  'kms-client-1.36': {
    module: 'k8s.io/apiserver',
    version: 'v0.36.3',
    sum: 'h1:MGSg2SkdfuytiDEcRylT5mQFmmSsbx90XFUO67Y4bsQ=',
    sources: ['kms-client-1.36', 'lineclient'],
  },
  'kms-client-1.27': {
    module: 'k8s.io/apiserver',
    version: 'v0.27.16',
    sum: 'h1:s3+lMqISTj5l/ZH/BvhdbiMfIoTF3/lrAN99BHccLmk=',
    sources: ['kms-client-1.27', 'lineclient'],
  },
  'kms-client-1.22': {
    module: 'k8s.io/apiserver',
    version: 'v0.22.17',
    sum: 'h1:wtAvpnfv24sHf4YqZ7dP6mWB8u4vdohViPK3uEw8Cwo=',
    sources: ['kms-client-1.22', 'lineclient'],
  },
} as const satisfies Readonly<Record<string, Target>>;

export type TargetName = keyof typeof TARGETS;

/** In the order in which they are built. */
export const TARGET_NAMES = Object.keys(TARGETS) as readonly TargetName[];

/** What test/field alone starts, and what takes long to build: `make test` does without. */
export const FIELD_ONLY: readonly TargetName[] = ['kubelet', 'k3s'];

/** The target of that name, as the general type. */
export function target(name: TargetName): Target {
  return TARGETS[name];
}
