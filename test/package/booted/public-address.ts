/** A Vault at a public address, which the unit keeps the plugin from until a drop-in names it: docs/hardening.md. */
import assert from 'node:assert/strict';
import { after, it } from 'node:test';
import {
  CONFIG,
  SERVICE,
  saysOfItself,
  systemctl,
  writeConfig,
  writeDropIn,
} from '../installation.ts';
import { ELSEWHERE } from '../own-namespaces.ts';
import type { UnderTest } from './under-test.ts';

/** Nobody listens there; who may send to it hears so at once. */
const VAULT = `apiVersion: trousseau.io/v1
kind: KMSPluginConfiguration
providers:
  - name: vault
    vault:
      addresses: ['https://${ELSEWHERE}:8200']
      key: kubernetes
      auth: {appRole: {roleID: none}}
`;

/** Needs the service active; leaves it so, with its own configuration. */
export function publicAddress(under: UnderTest): void {
  let before = '';
  after(async () => {
    await writeConfig(under.machine, before);
    await under.machine.must(['rm', '-f', `/etc/systemd/system/${SERVICE}.d/50-test.conf`]);
    await systemctl(under.machine, 'daemon-reload');
    await systemctl(under.machine, 'restart', SERVICE);
  });

  it('says that the unit may keep it from a public address', async () => {
    before = await under.machine.must(['cat', CONFIG]);
    await writeConfig(under.machine, VAULT);
    await systemctl(under.machine, 'restart', SERVICE);
    const ip = ELSEWHERE.replaceAll('.', '\\.');
    await saysOfItself(
      under.machine,
      new RegExp(`${ip} is a public address.* IPAddressAllow= and a restart`),
    );
  });

  it('reaches it where a drop-in names it', async () => {
    await writeDropIn(under.machine, [`IPAddressAllow=${ELSEWHERE}/32`]);
    await systemctl(under.machine, 'restart', SERVICE);
    await saysOfItself(under.machine, /ECONNREFUSED/);
    assert.doesNotMatch(
      await systemctl(under.machine, 'show', '--property=StatusText', SERVICE),
      /public address/,
    );
  });
}
