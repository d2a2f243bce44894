/** Keeps a worker connected: one stream after the other, until it is drained. */
import { setTimeout as sleep } from 'node:timers/promises';

import { status as codes } from '@grpc/grpc-js';

import { workerService } from '../api.js';
import { Refusal } from '../refusal.js';
import { Book } from './book.js';
import { WorkStream } from './stream.js';

const BACKOFF_FIRST_MS = 50;
const BACKOFF_LAST_MS = 1000;
/** What callables have to end in, once the drain's time is over. */
const STOP_MS = 1000;
/**
 * How long a drain waits for the answers to its last reports. Leases that a stream left behind
 * are lost after 5 s anyway.
 */
const ANSWER_MS = 5000;
/** A greeting that was refused with one of these would be refused again. */
const FINAL = [
  codes.INVALID_ARGUMENT,
  codes.UNIMPLEMENTED,
  codes.UNAUTHENTICATED,
  codes.PERMISSION_DENIED,
];

export class Connection {
  #service;
  #options;
  #log;
  #stream = null;
  #cut = new AbortController();

  /**
   * @param {import('../worker.js').WorkerOptions & {target: string, callables: string[]}} options
   * @param {{begin: (lease: object) => void, stop: (token: string, reason: string) => void,
   *   pause: (token: string) => void,
   *   tell: (token: string, number: number, error: string | null) => void,
   *   log: (text: string) => void}} owner
   */
  constructor(options, { begin, stop, pause, tell, log }) {
    this.#options = options;
    this.#log = log;
    this.#service = workerService(options.target);
    this.book = new Book(options.concurrency, begin, stop, pause, tell, options.versions);
  }

  /**
   * Works until drained. Throws where the server refuses this worker for good, or where a drain
   * ended without answers.
   */
  async run() {
    try {
      await this.#serveAll();
    } finally {
      this.#cut.abort();
      this.#service.close();
    }
  }

  /** Takes nothing more. Each step that does not lead to the end is followed by a harder one. */
  async drain() {
    this.book.drain();
    // A stream that waits for a server that is away, and has nothing to say.
    if (this.book.isDone && !this.#stream?.isWelcome) this.#cutAll();
    await this.#pause(this.#options.drainMs);
    this.book.stop();
    await this.#pause(STOP_MS);
    this.book.abandon();
    await this.#pause(ANSWER_MS);
    this.#cutAll();
  }

  async #serveAll() {
    let delay = BACKOFF_FIRST_MS;
    while (!this.#isOver) {
      this.#stream = new WorkStream(this.#service, this.book, this.#hello, this.#log);
      const refusal = await this.#stream.serve();
      const { isWelcome } = this.#stream;
      if (!isWelcome && FINAL.includes(refusal?.code)) throw refusal;
      delay = isWelcome ? BACKOFF_FIRST_MS : Math.min(2 * delay, BACKOFF_LAST_MS);
      if (!this.#isOver) await this.#pauseAfter(refusal, delay);
    }
    await this.#giveBack();
  }

  get #isOver() {
    return this.book.isDone || this.#cut.signal.aborted;
  }

  /** Waits as long as the server asked for, or else some delay. */
  async #pauseAfter(refusal, delay) {
    this.#log(`stream ended: ${refusal?.message ?? 'OK'}`);
    // Jitter, so that a server's restart is not met by all workers at once.
    const jittered = delay * (0.5 + Math.random() / 2);
    await this.#pause(Math.max(jittered, refusal?.retryAfterMs ?? 0));
  }

  get #hello() {
    const { id, callables, tenants, leaseMs } = this.#options;
    return { workerId: id, callables, tenantIds: tenants, leaseDurationMs: leaseMs };
  }

  /** Waits, or until all is cut. */
  async #pause(delay) {
    await sleep(delay, undefined, { signal: this.#cut.signal }).catch(() => {});
  }

  #cutAll() {
    this.#cut.abort();
    this.#stream?.cut();
  }

  /** Releases what came after the stream was half-closed, or was never answered. */
  async #giveBack() {
    const { leases } = this.book;
    if (leases.length === 0) return;
    const { promise, resolve, reject } = Promise.withResolvers();
    const deadline = Date.now() + ANSWER_MS;
    this.#service.Release({ releases: leases }, { deadline }, (error) => {
      if (error === null) return resolve();
      const { message } = Refusal.fromError(error);
      return reject(new Error(`${leases.length} leases are left to expire: ${message}`));
    });
    await promise;
  }
}
