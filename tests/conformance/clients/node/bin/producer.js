#!/usr/bin/env node
/**
 * Enqueues one execution for each line of its input, waits for all of them, and prints one JSON
 * line of each, in order.
 *
 *     printf '{"numbers": [1, 2]}\n' |
 *       node bin/producer.js --target 127.0.0.1:7433 --tenant acme --callable conformance.sum
 *
 * It repeats what broke off, so that a server that restarts is no more than a pause. Run again
 * with the same --request-id it meets the executions of before.
 */
import { text } from 'node:stream/consumers';

import { Producer } from '../lib/producer.js';
import { Refusal } from '../lib/refusal.js';
import { fromValue } from '../lib/value.js';
import { option, readOptions } from './options.js';

const { env } = process;
const values = readOptions({
  target: option(env.BACKLANE_TARGET ?? '127.0.0.1:7433'),
  tenant: option(env.BACKLANE_TENANT ?? 'default'),
  callable: option('conformance.sum'),
  by: option('stream'), // or batch
  // Makes a repetition safe; the requests of a stream add their line's number.
  'request-id': option(`node-${Date.now()}`),
});

/** Makes a request of each line of stdin. */
async function readRequests() {
  const lines = (await text(process.stdin)).split('\n').filter((line) => line !== '');
  return lines.map((input) => ({ tenantId: values.tenant, callableName: values.callable, input }));
}

/** @param {Producer} producer @param {object[]} requests @returns {Promise<string[]>} */
async function enqueue(producer, requests) {
  const requestId = values['request-id'];
  if (values.by === 'batch') return producer.enqueueBatch(requestId, requests);
  if (values.by !== 'stream') throw new Error(`--by ${values.by}: no such call`);
  const outcomes = await producer.enqueueStream(
    requests.map((request, index) => ({ ...request, requestId: `${requestId}-${index}` })),
  );
  const refused = outcomes.find((outcome) => outcome instanceof Refusal);
  if (refused !== undefined) throw refused;
  return outcomes.map(({ executionId }) => executionId);
}

/** What is printed of an execution. */
function line({ executionId, status, attempt, output, error }) {
  return JSON.stringify({
    executionId,
    status: status.replace('BACKGROUND_EXECUTION_STATUS_', '').toLowerCase(),
    attempt,
    output: output ? fromValue(output) : undefined,
    error: error?.message,
  });
}

const producer = new Producer(values.target, values.tenant);
try {
  const ids = await enqueue(producer, await readRequests());
  console.error(`enqueued ${ids.length}`);
  for (const record of await producer.results(ids)) console.log(line(record));
} catch (error) {
  console.error(`producer: ${error.message}`);
  process.exitCode = 1;
} finally {
  producer.close();
}
