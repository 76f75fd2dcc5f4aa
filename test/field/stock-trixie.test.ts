import { inOwnNamespaces } from '../package/own-namespaces.ts';
import { prepareStock, stockDebian, stockMachine } from './stock.ts';

const DISTRIBUTION = stockDebian('trixie');

if (await inOwnNamespaces(import.meta.filename, () => prepareStock(DISTRIBUTION)))
  stockMachine('a stock Debian 13', DISTRIBUTION);
