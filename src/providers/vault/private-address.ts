/** Addresses that are not of the internet: those that the unit of the packages lets the plugin reach. */
import { BlockList, isIPv6 } from 'node:net';

/** `IPAddressAllow=` of systemd/trousseau.service, its names written out as in systemd.resource-control(5). */
export const PRIVATE_NETWORKS = [
  ...['127.0.0.0/8', '::1/128', '169.254.0.0/16', 'fe80::/64'],
  ...['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'],
];

/** Whether the unit's sandbox drops what is sent to this IP address, unless a drop-in allows it. */
export function isPublic(ip: string): boolean {
  const networks = new BlockList();
  for (const network of PRIVATE_NETWORKS) {
    const [address = '', bits = ''] = network.split('/');
    networks.addSubnet(address, Number(bits), familyOf(address));
  }
  return !networks.check(ip, familyOf(ip));
}

function familyOf(ip: string): 'ipv4' | 'ipv6' {
  return isIPv6(ip) ? 'ipv6' : 'ipv4';
}
