/** The callables that Backlane's conformance tests call. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { Failure, json } from '../lib/callable.js';

/** @type {Record<string, import('../lib/callable.js').Callable>} */
export const callables = {
  /** Answers its input. */
  'conformance.echo': json((input) => input),

  /** Fails with its input as the message: a JSON string's text, or whatever else it is. */
  'conformance.fail': ({ execution }) => {
    throw new Failure(messageOf(execution.input ?? ''));
  },

  /** Runs until `ms` milliseconds are over, or it is told to stop. Logs that it has begun. */
  'conformance.hold': json(async (input, signal, { execution }) => {
    console.error(`holding ${execution.executionId}`);
    await (input?.ms === undefined ? aborted(signal) : sleep(input.ms, undefined, { signal }));
    return null;
  }),

  /** Takes a durable step for each name, and then waits for an input if it is told to. */
  'conformance.steps': json(async ({ steps, wait }, _, __, context) => {
    const outputs = [];
    for (const name of steps) {
      const take = () => ({ name, nonce: randomUUID() });
      outputs.push(await context.step(name, take, { arguments: [name] }));
    }
    const input = wait ? await context.waitForInput(wait.name, wait.key) : null;
    return { outputs, input };
  }),

  /** Adds numbers. */
  'conformance.sum': json(({ numbers }) => ({ sum: numbers.reduce((a, b) => a + b, 0) })),
};

/** @type {Record<string, string>} */
export const versions = { 'conformance.steps': '1' };

/** @param {string} input */
function messageOf(input) {
  try {
    const document = JSON.parse(input);
    return typeof document === 'string' ? document : input;
  } catch {
    return input;
  }
}

/** Waits for a signal and throws its reason. @param {AbortSignal} signal */
function aborted(signal) {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
