/**
 * What a worker has to say about its leases: reports, kept until the server answered them.
 *
 * @typedef {{executionId: string, leaseToken: string}} LeaseRef
 * @typedef {object} Report
 * @property {LeaseRef} ref
 * @property {'complete' | 'fail' | 'release'} kind
 * @property {object} body a CompleteResult, a Failure, or the ref itself, which gives it back
 * @property {number} size in bytes, roughly
 * @property {boolean} isSaid it was sent once, so that the server may have it
 * @property {boolean} isAlone its message was refused as a whole, so that it goes by itself
 */
import { status as codes } from '@grpc/grpc-js';

import { toValue } from '../value.js';

/** The most items that the server takes in one message. */
export const BATCH_ITEMS_MAX = 1000;
/** Closes a message of reports; the transport takes five times as much. */
const BATCH_BYTES = 4 << 20;
/** Where the server cuts a message. */
const MESSAGE_CHARACTERS_MAX = 8 << 10;

/** The field of a message that holds the reports of that kind. */
const ITEMS = { complete: 'results', fail: 'failures', release: 'releases' };

/** @returns {Report} */
function report(ref, kind, body, size) {
  return { ref, kind, body, size, isSaid: false, isAlone: false };
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
  const error = {
    category: `ERROR_CATEGORY_${(failure.category ?? 'tool_error').toUpperCase()}`,
    message: failure.message.slice(0, MESSAGE_CHARACTERS_MAX).toWellFormed(),
  };
  if (failure.code) error.code = failure.code.toWellFormed();
  if (failure.isFinal) error.retryPolicy = { retryable: false };
  if (failure.details !== undefined) error.details = toValue(failure.details);
  const body = { ...ref, error, throttled: failure.isThrottled ?? false };
  if (failure.retryAfterMs !== undefined) body.retryAfterMs = failure.retryAfterMs;
  return report(ref, 'fail', body, error.message.length);
}

/** Gives a lease back. @param {LeaseRef} ref */
export function released(ref) {
  return report(ref, 'release', ref, 128);
}

/**
 * What follows a report that was refused for good: something that the server will take, or null
 * where the lease is no longer ours.
 * @param {Report} item
 * @param {import('../refusal.js').Refusal} refusal
 */
export function afterRefusal(item, refusal) {
  if ([codes.FAILED_PRECONDITION, codes.NOT_FOUND].includes(refusal.code)) return null;
  if (item.kind === 'complete') {
    return failed(item.ref, { message: `output refused: ${refusal.message}` });
  }
  return item.kind === 'fail' ? released(item.ref) : null;
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
   * already becomes a failure.
   * @param {import('../refusal.js').Refusal | null} refusal
   */
  repeat(refusal) {
    const [oldest = [], ...others] = this.#unanswered;
    const first = refusal === null ? oldest : apart(oldest, refusal);
    this.unsaid = [...first, ...others.flat(), ...this.unsaid];
    this.#unanswered = [];
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
