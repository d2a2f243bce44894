/**
 * What a worker has to say about its leases and their steps: reports, kept until the server
 * answered them.
 *
 * @typedef {{executionId: string, leaseToken: string}} LeaseRef
 * @typedef {object} Report
 * @property {LeaseRef} ref
 * @property {'complete' | 'fail' | 'release' | 'suspend' | 'steps'} kind
 * @property {object} body a CompleteResult, a Failure, a Suspension, or the ref itself, which gives
 *   it back; or a StepReport, after which the lease goes on
 * @property {number} size in bytes, roughly
 * @property {boolean} isSaid it was sent once, so that the server may have it
 * @property {boolean} isAlone its message was refused as a whole, so that it goes by itself
 * @property {import('./journal.js').Entry[]} entries what a report of steps tells
 */
import { status as codes } from '@grpc/grpc-js';

import { toValue } from '../value.js';
import { toError } from './errors.js';

/** The most items that the server takes in one message. */
export const BATCH_ITEMS_MAX = 1000;
/** Closes a message of reports; the transport takes five times as much. */
const BATCH_BYTES = 4 << 20;

/** The field of a message that holds the reports of that kind. */
const ITEMS = {
  complete: 'results',
  fail: 'failures',
  release: 'releases',
  suspend: 'suspensions',
  steps: 'reports',
};

/** @returns {Report} */
function report(ref, kind, body, size, entries = []) {
  return { ref, kind, body, size, isSaid: false, isAlone: false, entries };
}

/**
 * Reports an output, or a failure where it cannot be sent.
 * @param {LeaseRef} ref
 * @param {string} output a JSON document
 */
export function completed(ref, output) {
  const size = Buffer.byteLength(output);
  if (size > BATCH_BYTES) return failed(ref, { message: `output: ${size} bytes are too large` });
  return report(ref, 'complete', { ...ref, output: toValue(JSON.parse(output)) }, size);
}

/**
 * Reports an error.
 * @param {LeaseRef} ref
 * @param {import('../callable.js').FailureOptions & {message: string}} failure
 */
export function failed(ref, failure) {
  const error = toError(failure);
  const body = { ...ref, error, throttled: failure.isThrottled ?? false };
  if (failure.retryAfterMs !== undefined) body.retryAfterMs = failure.retryAfterMs;
  return report(ref, 'fail', body, error.message.length);
}

/** Gives a lease back. @param {LeaseRef} ref */
export function released(ref) {
  return report(ref, 'release', ref, 128);
}

/**
 * Gives a lease back until one of the waits is over; without waits, to a pause.
 * @param {LeaseRef} ref
 * @param {object[]} waits of backlane.v1.WaitPoint
 * @param {string} schemaVersion that of the callable
 */
export function suspended(ref, waits, schemaVersion) {
  return report(ref, 'suspend', { ...ref, waits, schemaVersion }, 256);
}

/**
 * Reports what happened to the steps of a lease.
 * @param {LeaseRef} ref
 * @param {number} sequence
 * @param {import('./journal.js').Entry[]} entries
 * @param {string} schemaVersion that of the callable
 */
export function stepsReported(ref, sequence, entries, schemaVersion) {
  const actions = entries.map(({ action }) => action);
  const size = actions.reduce((sum, { completed }) => sum + (completed?.output.length ?? 256), 0);
  return report(ref, 'steps', { ...ref, actions, sequence, schemaVersion }, size, entries);
}

/**
 * Whether a refusal says that the lease is no longer ours.
 * @param {import('../refusal.js').Refusal} refusal
 */
export function isLoss({ code, reason }) {
  if (code === codes.FAILED_PRECONDITION) return reason !== 'TRANSITION_NOT_ALLOWED';
  return code === codes.NOT_FOUND;
}

/**
 * What follows a report that was refused for good: something that the server will take, or null
 * where the lease is no longer ours.
 * @param {Report} item
 * @param {import('../refusal.js').Refusal} refusal
 */
export function afterRefusal(item, refusal) {
  if (isLoss(refusal)) return null;
  if (item.kind === 'complete') {
    return failed(item.ref, { message: `output refused: ${refusal.message}` });
  }
  if (item.kind === 'suspend' && item.body.waits.length > 0) {
    return failed(item.ref, { message: `wait refused: ${refusal.message}` });
  }
  // A suspension without waits: the pause is over.
  return ['fail', 'suspend'].includes(item.kind) ? released(item.ref) : null;
}

/** The reports of a worker: what was not said yet, and the messages that were not answered. */
export class Reports {
  /** @type {Report[]} */
  unsaid = [];
  /** @type {Report[][]} */
  #unanswered = [];

  get isEmpty() {
    return this.unsaid.length + this.#unanswered.length === 0;
  }

  /** @param {Report} item */
  add(item) {
    this.unsaid.push(item);
  }

  /** Gathers reports of one kind, the oldest first, into a message; null where none is due. */
  take() {
    if (this.unsaid.length === 0) return null;
    const batch = this.unsaid.splice(0, this.#batchLength());
    for (const item of batch) item.isSaid = true;
    this.#unanswered.push(batch);
    const [{ kind }] = batch;
    return { [kind]: { [ITEMS[kind]]: batch.map(({ body }) => body) } };
  }

  #batchLength() {
    const [first] = this.unsaid;
    let size = 0;
    const end = this.unsaid.findIndex((item, index) => {
      size += item.size;
      const isFull = index === BATCH_ITEMS_MAX || size > BATCH_BYTES;
      return index > 0 && (isFull || item.kind !== first.kind || item.isAlone || first.isAlone);
    });
    return end === -1 ? this.unsaid.length : end;
  }

  /** Takes the oldest message that was not answered: its answer came. */
  answer() {
    const batch = this.#unanswered.shift();
    if (batch === undefined) throw new Error('outcomes without a report');
    return batch;
  }

  /**
   * Puts what was not answered in front again, for the next stream. Where the server refused a
   * message as a whole, it was the oldest one: its reports go one by one, and one that was alone
   * already becomes a failure. One of steps is answered instead, with that refusal.
   * @param {import('../refusal.js').Refusal | null} refusal
   * @returns {Report[]} what is answered
   */
  repeat(refusal) {
    const [oldest = [], ...others] = this.#unanswered;
    const first = refusal === null ? oldest : apart(oldest, refusal);
    this.unsaid = [...first, ...others.flat(), ...this.unsaid];
    this.#unanswered = [];
    const isAnswered = refusal !== null && oldest.length === 1 && oldest[0].kind === 'steps';
    return isAnswered ? oldest : [];
  }

  /** Forgets the reports of a lease that were not sent. @param {string} token */
  drop(token) {
    this.unsaid = this.unsaid.filter(({ ref }) => ref.leaseToken !== token);
  }
}

/** @param {Report[]} batch @param {import('../refusal.js').Refusal} refusal */
function apart(batch, refusal) {
  if (batch.length > 1) return batch.map((item) => ({ ...item, isAlone: true }));
  return batch.map((item) => afterRefusal(item, refusal)).filter((item) => item !== null);
}
