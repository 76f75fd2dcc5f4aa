import { inOwnNamespaces } from '../package/own-namespaces.ts';
import { prepareStock, stockDebian, stockMachine } from './stock.ts';

const DISTRIBUTION = stockDebian('bookworm');

if (await inOwnNamespaces(import.meta.filename, () => prepareStock(DISTRIBUTION)))
  stockMachine('a stock Debian 12', DISTRIBUTION);
