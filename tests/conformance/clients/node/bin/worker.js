#!/usr/bin/env node
/**
 * Offers the callables that Backlane's conformance tests call.
 *
 *     node bin/worker.js --target 127.0.0.1:7433 --tenant acme
 *
 * SIGTERM and SIGINT drain it. Each option has an environment variable beside it.
 */
import { Worker } from '../lib/worker.js';
import { callables, versions } from './callables.js';
import { option, readOptions } from './options.js';

const { env } = process;
const values = readOptions({
  target: option(env.BACKLANE_TARGET ?? '127.0.0.1:7433'),
  tenant: option(env.BACKLANE_TENANT ?? ''), // all, if empty
  name: option(env.BACKLANE_WORKER_NAME ?? `node-${process.pid}`),
  concurrency: option(env.BACKLANE_CONCURRENCY ?? '4'),
  'lease-ms': option(env.BACKLANE_LEASE_MS ?? '30000'),
  'drain-ms': option(env.BACKLANE_DRAIN_MS ?? '30000'),
});

const options = {
  id: values.name,
  versions,
  tenants: values.tenant === '' ? [] : [values.tenant],
  concurrency: number('concurrency'),
  leaseMs: number('lease-ms'),
  drainMs: number('drain-ms'),
};
const drain = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => drain.abort());

const worker = new Worker(values.target, callables, options, (text) => console.error(text));
await worker.run(drain.signal).catch((error) => {
  console.error(`worker: ${error.message}`);
  process.exitCode = 1;
});

/** @param {keyof typeof values} name */
function number(name) {
  if (/^\d+$/.test(values[name])) return Number(values[name]);
  console.error(`worker: --${name} ${values[name]} is no number`);
  return process.exit(2);
}
