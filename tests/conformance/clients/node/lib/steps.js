/** The durable steps and waits of a callable. */
import { createHash, randomBytes } from 'node:crypto';

import { Failure, Suspended, failureOf } from './callable.js';
import { toError } from './connection/errors.js';
import { Places } from './places.js';

/** The most that the server keeps of all steps of an execution. */
const STEP_BYTES_MAX = 1 << 20;
/** How much of a hash is recorded. */
const DIGEST_BYTES = 16;
const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const ID_DIGITS = 27;
const ID_EPOCH_S = 1_400_000_000;

/**
 * Where a callable is in the steps of its execution. A step is known by its name, its key, and how
 * many steps with both came before it in the attempt; one that has failed and is done again counts
 * once.
 *
 * @typedef {object} StepOptions
 * @property {string} [key] tells steps of one name apart
 * @property {unknown[]} [arguments] what the step is called with, as JSON. Their hash is recorded,
 *   and a later attempt that comes to the step with others fails, with the code STEP_MISMATCH.
 */
export class Context {
  #signal;
  #record;
  #places;
  #isPaused = false;
  #isInStep = false;

  /**
   * @param {object} lease a backlane.v1.Lease
   * @param {AbortSignal} signal says that the attempt is to stop
   * @param {(action: object) => Promise<void>} record reports what happened to a step, and answers
   *   once it is recorded
   */
  constructor(lease, signal, record) {
    this.#places = new Places(lease.steps ?? []);
    this.#signal = signal;
    this.#record = record;
  }

  /** Lets no further step begin. */
  pause() {
    this.#isPaused = true;
  }

  /**
   * Does something once for the execution, and keeps what it answers, as JSON, for all later
   * attempts. Where an earlier attempt has completed the step, the kept answer is answered, and
   * nothing is done. It is durable once this answers. An error is recorded and thrown; the step is
   * done again when it is taken again. Steps are taken one after the other.
   * @template T
   * @param {string} name
   * @param {() => T | Promise<T>} run
   * @param {StepOptions} [options]
   * @returns {Promise<T>}
   */
  async step(name, run, options = {}) {
    const call = { name, key: options.key, digest: digestOf(options.arguments) };
    const before = this.#enter(call);
    if (hasCompleted(before)) return JSON.parse(before.output ?? 'null');
    this.#signal.throwIfAborted();
    if (this.#isPaused) throw new Suspended([]);
    const stepId = this.#begin(call, before);
    this.#isInStep = true;
    try {
      const output = JSON.stringify((await run()) ?? null);
      await this.#report({ completed: { stepId, output: checked(output) } });
      return JSON.parse(output);
    } catch (error) {
      if (!this.#signal.aborted) await this.#fail(stepId, error);
      throw error;
    } finally {
      this.#isInStep = false;
    }
  }

  /**
   * Waits for the input with that key, without a worker: throws a Suspended, which the callable
   * must let pass, and the callable is called anew when the input is there. Then this answers the
   * input, which is JSON. Throws a Failure where there is none, because a client resumed the
   * execution.
   * @param {string} name @param {string} key
   */
  async waitForInput(name, key) {
    const over = this.#wait({ name, key, reason: 'WAIT_REASON_USER_INPUT' });
    if (typeof over.output !== 'string') throw new Failure(`${name}: the wait ended without input`);
    return JSON.parse(over.output);
  }

  /**
   * Waits for that long, without a worker, as waitForInput does.
   * @param {string} name @param {number} ms
   */
  async sleep(name, ms) {
    this.#wait({ name, waitMs: Math.max(0, Math.round(ms)) });
  }

  /** Answers a wait that is over, and throws a Suspended for any other. */
  #wait(point) {
    const before = this.#enter({ name: point.name, isWait: true });
    if (hasCompleted(before)) return before;
    this.#signal.throwIfAborted();
    const stepId = before?.state === 'STEP_STATE_RUNNING' ? before.id : newStepId();
    throw new Suspended([{ ...point, stepId }]);
  }

  /** Comes to a step. @returns {object | undefined} what is recorded in its place */
  #enter(call) {
    if (this.#isInStep) throw new Failure('steps are taken one after the other');
    return this.#places.enter(call);
  }

  /** Nobody waits for the outcome: that of the step's end will do. */
  #begin({ name, key, digest }, before) {
    const started = { stepId: newStepId(), name, argumentsHash: digest };
    if (key !== undefined) started.key = key;
    if (before !== undefined) {
      started.source = { sourceType: 'STEP_SOURCE_TYPE_RETRY', triggeredBy: before.id };
    }
    this.#record({ started }).catch(() => {});
    return started.stepId;
  }

  async #fail(stepId, error) {
    // That it failed is thrown in any case.
    await this.#report({ failed: { stepId, error: toError(failureOf(error)) } }).catch(() => {});
  }

  /** Does not wait where the attempt is to stop, although the report may still be recorded. */
  async #report(action) {
    const { promise: stopped, reject } = Promise.withResolvers();
    const stop = () => reject(this.#signal.reason);
    this.#signal.addEventListener('abort', stop, { once: true });
    try {
      this.#signal.throwIfAborted();
      await Promise.race([this.#record(action), stopped]);
    } finally {
      this.#signal.removeEventListener('abort', stop);
    }
  }
}

const hasCompleted = (step) => step?.state === 'STEP_STATE_COMPLETED';

/**
 * The hash of arguments, which is that of other languages' workers: of the JSON of their list and
 * of an empty object, in which the Python worker has arguments by name.
 * @param {unknown[]} given
 */
export function digestOf(given = []) {
  const text = JSON.stringify([sorted(given), {}]);
  return createHash('sha256').update(text).digest().subarray(0, DIGEST_BYTES);
}

/** The same JSON with the keys of all objects in order. */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object' || 'toJSON' in value) return value;
  const keys = Object.keys(value).sort();
  return Object.fromEntries(keys.map((key) => [key, sorted(value[key])]));
}

/** @param {string} output */
function checked(output) {
  const size = Buffer.byteLength(output);
  if (size > STEP_BYTES_MAX) throw new Failure(`output of a step: ${size} bytes are too large`);
  return output;
}

/** Makes a KSUID: the time and 16 random bytes. */
export function newStepId() {
  const raw = Buffer.concat([Buffer.alloc(4), randomBytes(16)]);
  raw.writeUInt32BE(Math.floor(Date.now() / 1000) - ID_EPOCH_S);
  let number = BigInt(`0x${raw.toString('hex')}`);
  let text = '';
  for (let digit = 0; digit < ID_DIGITS; digit += 1) {
    text = BASE62[Number(number % 62n)] + text;
    number /= 62n;
  }
  return `step_${text}`;
}
