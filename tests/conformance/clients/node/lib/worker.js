/**
 * Runs callables for a Backlane server, on one Work stream: proto/README.md §6 and §7.
 *
 * It keeps as many executions running as it has slots, renews their leases from a thread of its
 * own, and reports in batches. A stream that breaks is opened again and keeps its leases; a
 * report is repeated until it is answered. Results are accepted once, deliveries happen at least
 * once.
 *
 * @typedef {object} WorkerOptions
 * @property {string} id names the worker, [A-Za-z0-9._:@/-]{1,128}; no other at work may have it
 * @property {string[]} [tenants] those that are served; none means all
 * @property {Record<string, string>} [versions] of callables with steps, by name; none is ''.
 *   Change one when the steps of running executions no longer fit its code: those are then refused.
 * @property {number} [concurrency] how many executions run at once, 4 by default
 * @property {number} [leaseMs] the silence that loses the leases, 1 s to 1 h, 30 s by default
 * @property {number} [drainMs] how long a drain lets callables run on, 30 s by default
 */
import { once } from 'node:events';
import { Worker as Thread } from 'node:worker_threads';

import { Failure, Stopped, Suspended, failureOf } from './callable.js';
import { checkVersion } from './places.js';
import { Context } from './steps.js';

const DEFAULTS = { tenants: [], versions: {}, concurrency: 4, leaseMs: 30_000, drainMs: 30_000 };
const THREAD = new URL('connection/thread.js', import.meta.url);

/** Leases executions of its callables and settles them. */
export class Worker {
  #callables;
  #options;
  #log;
  /** @type {Thread} */
  #thread;
  /** By token. @type {Map<string, {controller: AbortController, context: Context}>} */
  #running = new Map();
  /** What waits for the outcome of a report of steps, by number. */
  #recording = new Map();
  #recorded = 0;

  /**
   * @param {string} target the server, host:port
   * @param {Record<string, import('./callable.js').Callable>} callables what is offered, by name
   * @param {WorkerOptions} options
   * @param {(text: string) => void} [log]
   */
  constructor(target, callables, options, log = () => {}) {
    this.#callables = callables;
    this.#options = { ...DEFAULTS, ...options, target, callables: Object.keys(callables).sort() };
    this.#log = log;
  }

  /**
   * Works until the signal says so, and then drains: takes nothing more, lets callables end for
   * drainMs, gives back what still runs, and waits for the server's answers. Throws where the
   * server refuses this worker for good, or where a drain ended without answers.
   * @param {AbortSignal} signal
   */
  async run(signal) {
    this.#thread = new Thread(THREAD, { workerData: this.#options });
    this.#thread.on('message', (message) => this.#note(message));
    const drain = () => this.#say('drain');
    if (signal.aborted) drain();
    signal.addEventListener('abort', drain, { once: true });
    try {
      await once(this.#thread, 'exit'); // or throws what ended it
    } finally {
      signal.removeEventListener('abort', drain);
    }
  }

  #note({ begin, stop, pause, recorded, log }) {
    if (begin !== undefined) this.#run(begin);
    if (stop !== undefined) {
      this.#running.get(stop.token)?.controller.abort(new Stopped(stop.reason));
    }
    if (pause !== undefined) this.#running.get(pause.token)?.context.pause();
    if (recorded !== undefined) this.#recordingEnds(recorded);
    if (log !== undefined) this.#log(log);
  }

  #say(verb, ...words) {
    this.#thread.postMessage({ [verb]: words });
  }

  async #run(lease) {
    const token = lease.leaseToken;
    const controller = new AbortController();
    const record = (action) => this.#record(token, action);
    const context = new Context(lease, controller.signal, record);
    this.#running.set(token, { controller, context });
    try {
      const output = await this.#call(lease, controller.signal, context);
      this.#say('complete', token, JSON.stringify(output ?? null) ?? 'null');
    } catch (error) {
      this.#report(token, error, controller.signal);
    } finally {
      this.#running.delete(token);
    }
  }

  /** Reports what happened to a step, and waits for the outcome. */
  #record(token, action) {
    this.#recorded += 1;
    const { promise, resolve, reject } = Promise.withResolvers();
    this.#recording.set(this.#recorded, { resolve, reject });
    this.#say('record', token, this.#recorded, action);
    return promise;
  }

  #recordingEnds({ number, error }) {
    const { resolve, reject } = this.#recording.get(number);
    this.#recording.delete(number);
    if (error === null) resolve();
    else reject(new Failure(`a step is not recorded: ${error}`));
  }

  async #call(lease, signal, context) {
    const name = lease.execution.callableName;
    const callable = this.#callables[name];
    if (callable === undefined) throw new Failure('this worker has no such callable');
    checkVersion(lease, this.#options.versions[name] ?? '');
    return callable(lease, signal, context);
  }

  #report(token, error, signal) {
    const hasStopped = signal.aborted && (error === signal.reason || error?.name === 'AbortError');
    if (hasStopped) this.#say('yield', token);
    else if (error instanceof Suspended) this.#say('suspend', token, error.waits);
    else this.#say('fail', token, failureOf(error));
  }
}
