/**
 * Right after `npm ci`: fetches what it leaves out, Node for the other processor, so that no later step
 * needs a network.
 */
import { nodePackage } from './binary/runtime.ts';

for (const arch of ['x64', 'arm64'] as const) nodePackage(arch);
