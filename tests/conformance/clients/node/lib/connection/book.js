/**
 * Owns what a worker holds and what it still has to say, over all streams of its life.
 *
 * @typedef {import('./reports.js').LeaseRef} LeaseRef
 * @typedef {import('../callable.js').StopReason} StopReason
 * @typedef {object} Held one attempt in this worker's hands
 * @property {LeaseRef} ref
 * @property {object} lease as the server sent it
 * @property {string} version that of its callable
 * @property {boolean} isBegun its callable was called
 * @property {boolean} isSettled there is a report of it
 * @property {StopReason | null} stopped why its callable was asked to stop
 * @property {boolean} isPaused a client asked for a pause
 * @property {Journal} journal what there is to say of it
 * @property {NodeJS.Timeout} [timer] of the attempt's deadline
 */
import { Refusal } from '../refusal.js';
import { Journal, LOST } from './journal.js';
import {
  BATCH_ITEMS_MAX,
  Reports,
  afterRefusal,
  completed,
  failed,
  isLoss,
  released,
  suspended,
} from './reports.js';

/**
 * How long the server may take to say itself that an attempt is over. Its clock decides; only
 * where it stays silent does the worker report a timeout.
 */
const TIMEOUT_GRACE_MS = 1000;
/** The wait before a report is repeated, where the server named none. */
const RETRY_DELAY_MS = 1000;
const TIMER_MAX_MS = 2 ** 31 - 1;

export class Book {
  #concurrency;
  #begin;
  #stop;
  #pause;
  #tell;
  #versions;
  /**
   * By token: an execution may be leased again while an old attempt runs.
   * @type {Map<string, Held>}
   */
  #held = new Map();
  /** To be acknowledged, and only then begun. @type {Held[]} */
  #arrived = [];
  #reports = new Reports();
  /** Leases whose callable has not returned, or is still to be called. */
  #busy = 0;
  /** Leases that the server may still send. */
  #credit = 0;
  #isDraining = false;
  #isDrainSaid = false;
  #isServerEnding = false;
  /** Called when there may be something new to say. */
  onChange = () => {};

  /**
   * @param {number} concurrency how many callables run at once
   * @param {(lease: object) => void} begin calls the callable of a lease
   * @param {(token: string, reason: StopReason) => void} stop asks it to end
   * @param {(token: string) => void} [pause] asks it to yield at its next step
   * @param {(token: string, number: number, error: string | null) => void} [tell] answers what it
   *   recorded
   * @param {Record<string, string>} [versions] of callables, by name
   */
  constructor(concurrency, begin, stop, pause = () => {}, tell = () => {}, versions = {}) {
    this.#concurrency = concurrency;
    this.#begin = begin;
    this.#stop = stop;
    this.#pause = pause;
    this.#tell = tell;
    this.#versions = versions;
  }

  /** Whether the worker drains and nothing is left to do. */
  get isDone() {
    return this.#isDraining && this.#isIdle;
  }

  get #isIdle() {
    return this.#held.size === 0 && this.#reports.isEmpty;
  }

  /** The leases held. @returns {LeaseRef[]} */
  get leases() {
    return [...this.#held.values()].map(({ ref }) => ref);
  }

  /** Forgets what a stream takes with it. */
  beginStream() {
    this.#credit = 0;
    this.#isDrainSaid = false;
    this.#isServerEnding = false;
    this.#arrived = [...this.#held.values()].filter(isNew);
  }

  /**
   * Has everything repeated that was not answered.
   * @param {Refusal | null} refusal set where the server refused a message as a whole
   */
  endStream(refusal) {
    this.onChange = () => {};
    for (const item of this.#reports.repeat(refusal)) this.#answered(item, refusal.message);
  }

  /**
   * Forgets what the server no longer counts as held. A report that it may have is repeated all
   * the same: the answer says what became of it.
   * @param {LeaseRef[]} refs
   */
  welcome(refs) {
    // Of steps nobody needs to know whether a lost lease recorded them.
    const isToBeKnown = ({ isSaid, kind }) => isSaid && kind !== 'steps';
    const said = this.#reports.unsaid.filter(isToBeKnown).map(({ ref }) => ref);
    const kept = new Set([...refs, ...said].map(({ leaseToken }) => leaseToken));
    for (const token of this.#held.keys()) {
      if (!kept.has(token)) this.#forget(token, 'leaseLost');
    }
  }

  /** Takes leases in. They are begun once they are acknowledged. @param {object[]} leases */
  arrive(leases) {
    for (const lease of leases) {
      const ref = { executionId: lease.execution.executionId, leaseToken: lease.leaseToken };
      const version = this.#versions[lease.execution.callableName] ?? '';
      const held = {
        ref,
        lease,
        version,
        isBegun: false,
        isSettled: false,
        stopped: null,
        isPaused: lease.pauseRequested ?? false,
        journal: new Journal(ref, (item) => this.#reports.add(item), this.#tell, version),
      };
      this.#credit -= 1;
      this.#busy += 1;
      this.#held.set(lease.leaseToken, held);
      this.#arrived.push(held);
      this.#watchDeadline(held);
      if (lease.execution.cancelRequested) this.#ask(held, 'cancelRequested');
    }
    this.onChange();
  }

  /** Takes in the output of a callable. @param {string} token @param {string} output as JSON */
  complete(token, output) {
    this.#finish(token, (held) => this.#settle(held, completed(held.ref, output)));
  }

  /** Takes in the error of a callable. @param {string} token @param {object} failure */
  fail(token, failure) {
    this.#finish(token, (held) => this.#settle(held, failed(held.ref, failure)));
  }

  /** Takes in that an execution waits. @param {string} token @param {object[]} waits */
  suspend(token, waits) {
    this.#finish(token, (held) => this.#settle(held, suspended(held.ref, waits, held.version)));
  }

  /**
   * Takes in what happened to a step, whose outcome is told under that number.
   * @param {string} token @param {number} number @param {object} action
   */
  record(token, number, action) {
    const held = this.#held.get(token);
    if (held === undefined || held.isSettled) this.#tell(token, number, LOST);
    else held.journal.record({ number, action });
    this.onChange();
  }

  /** Takes in that a callable has ended because it was asked to. @param {string} token */
  yield(token) {
    this.#finish(token, (held) => {
      if (held.stopped !== 'timedOut') {
        this.#settle(held, released(held.ref));
        return;
      }
      const failure = { category: 'timeout', message: "the attempt's deadline passed" };
      setTimeout(() => this.#settle(held, failed(held.ref, failure)), TIMEOUT_GRACE_MS);
    });
  }

  /** Takes in the answer to the oldest message of reports. @param {object[]} outcomes */
  outcomes(outcomes) {
    const batch = this.#reports.answer();
    if (batch.length !== outcomes.length) {
      throw new Error(`${outcomes.length} outcomes for ${batch.length} reports`);
    }
    for (const [index, item] of batch.entries()) this.#note(item, outcomes[index]);
    this.onChange();
  }

  /** Stops callables on a client's behalf. @param {LeaseRef[]} refs */
  cancels(refs) {
    for (const { leaseToken } of refs) this.#ask(this.#held.get(leaseToken), 'cancelRequested');
  }

  /** Lets callables yield to a client's pause. @param {LeaseRef[]} refs */
  pauses(refs) {
    for (const { leaseToken } of refs) {
      const held = this.#held.get(leaseToken);
      if (held === undefined) continue;
      held.isPaused = true;
      if (held.isBegun) this.#pause(leaseToken);
    }
  }

  /**
   * Forgets leases that are no longer ours. Nothing is reported of them.
   * @param {LeaseRef[]} refs
   */
  lost(refs) {
    for (const { leaseToken } of refs) this.#forget(leaseToken, 'leaseLost');
    this.onChange();
  }

  /** Gives no further credit on this stream, which ends once nothing is held. */
  serverEnds() {
    this.#isServerEnding = true;
    this.onChange();
  }

  /** Takes nothing more: no credit, and what has not begun is given back. */
  drain() {
    this.#isDraining = true;
    this.onChange();
  }

  /** Asks the callables that still run to end. */
  stop() {
    for (const held of this.#held.values()) this.#ask(held, 'draining');
  }

  /** Gives back all leases that nothing was reported of. */
  abandon() {
    for (const held of this.#held.values()) this.#settle(held, released(held.ref));
  }

  /**
   * The next message to send, and what to do once it is sent.
   * @returns {{request: object, sent?: () => void} | 'nothing' | 'end'}
   */
  next() {
    if (this.#isDraining && !this.#isDrainSaid) {
      this.#isDrainSaid = true;
      return { request: { drain: {} } };
    }
    if (this.#arrived.length > 0) return this.#acknowledgement();
    const request = this.#reports.take();
    if (request !== null) return { request };
    if (this.#isDraining || this.#isServerEnding) return this.#isIdle ? 'end' : 'nothing';
    return this.#owedCredit();
  }

  #acknowledgement() {
    const leases = this.#arrived.splice(0, BATCH_ITEMS_MAX);
    const request = { acknowledge: { leases: leases.map(({ ref }) => ref) } };
    return { request, sent: () => this.#acknowledged(leases) };
  }

  /** Begins leases, or gives back those that are not wanted any more. @param {Held[]} leases */
  #acknowledged(leases) {
    for (const held of leases) {
      const isGone = this.#held.get(held.ref.leaseToken) !== held || !isNew(held);
      if (isGone) continue;
      if (this.#isDraining || held.stopped !== null) {
        this.#giveBack(held, released(held.ref));
      } else if (held.isPaused) {
        this.#giveBack(held, suspended(held.ref, [], held.version));
      } else {
        held.isBegun = true;
        this.#begin(held.lease);
      }
    }
  }

  #giveBack(held, report) {
    this.#busy -= 1;
    this.#settle(held, report);
  }

  /** Asks for a lease for each free slot: only what will be run at once. */
  #owedCredit() {
    const executions = this.#concurrency - this.#busy - this.#credit;
    if (executions <= 0) return 'nothing';
    this.#credit += executions;
    return { request: { credit: { executions } } };
  }

  /**
   * Counts the attempt's time from now: attemptDeadline is of the server's clock, which may differ
   * from this machine's.
   */
  #watchDeadline(held) {
    const delay = held.lease.attemptRemainingMs ?? Infinity;
    if (delay > TIMER_MAX_MS) return; // weeks from now, or never: the server will tell
    held.timer = setTimeout(() => this.#ask(held, 'timedOut'), delay);
  }

  /** @param {Held | undefined} held @param {StopReason} reason */
  #ask(held, reason) {
    if (held === undefined || held.stopped !== null) return;
    held.stopped = reason;
    if (held.isBegun) this.#stop(held.ref.leaseToken, reason);
  }

  #finish(token, report) {
    this.#busy -= 1;
    const held = this.#held.get(token);
    if (held !== undefined) report(held);
    this.onChange();
  }

  /** Takes in what the server said to one report. */
  #note(item, { status }) {
    const { leaseToken } = item.ref;
    if (!status) {
      if (item.kind === 'steps') this.#answered(item, null);
      else this.#forget(leaseToken, null);
      return;
    }
    const refusal = new Refusal(status);
    if (refusal.isTransient) {
      const delay = Math.max(refusal.retryAfterMs, RETRY_DELAY_MS);
      setTimeout(() => this.#again(item), delay);
      return;
    }
    if (item.kind === 'steps' && !isLoss(refusal)) {
      this.#answered(item, refusal.message);
      return;
    }
    // Not silence: heartbeats would keep the lease.
    const next = afterRefusal(item, refusal);
    if (next !== null) this.#reports.add(next);
    else this.#forget(leaseToken, 'leaseLost');
  }

  /** Takes in the outcome of a report of steps: null, or why it was refused. */
  #answered(item, error) {
    this.#held.get(item.ref.leaseToken)?.journal.answered(item, error);
  }

  /** Repeats a report, unless its lease was lost meanwhile. */
  #again(item) {
    if (this.#held.has(item.ref.leaseToken)) this.#reports.add(item);
    this.onChange();
  }

  /** Takes a report in, unless the lease was lost or has one. */
  #settle(held, report) {
    if (this.#held.get(held.ref.leaseToken) !== held || held.isSettled) return;
    held.isSettled = true;
    held.journal.end(report);
    this.onChange();
  }

  /** Drops a lease, and stops its callable where it still runs. */
  #forget(token, reason) {
    const held = this.#held.get(token);
    if (held === undefined) return;
    if (isNew(held)) {
      this.#busy -= 1;
      this.#arrived = this.#arrived.filter((other) => other !== held);
    }
    this.#held.delete(token);
    this.#reports.drop(token);
    held.journal.close();
    clearTimeout(held.timer);
    if (reason !== null && held.isBegun) this.#stop(token, reason);
  }
}

/** Whether a lease has not begun, nor been given back. @param {Held} held */
function isNew(held) {
  return !held.isBegun && !held.isSettled;
}
