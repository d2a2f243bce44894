/** Serves one Work stream from its hello to its end: proto/README.md §6. */
import grpc from '@grpc/grpc-js';

import { Refusal } from '../refusal.js';

/**
 * @typedef {object} Hello what is said first
 * @property {string} workerId
 * @property {string[]} callables
 * @property {string[]} tenantIds
 * @property {number} leaseDurationMs
 */

export class WorkStream {
  #book;
  #call;
  #heartbeats;
  #isFull = false;
  #isHalfClosed = false;
  #isOver = false;
  #log;
  /** Whether the server welcomed the worker. */
  isWelcome = false;

  /**
   * @param {object} service the worker's calls
   * @param {import('./book.js').Book} book
   * @param {Hello} hello
   * @param {(text: string) => void} log
   */
  constructor(service, book, hello, log) {
    this.#book = book;
    this.#log = log;
    // Ready: the leases of a broken stream wait for 5 s only, so that a server that restarts is
    // awaited with the connection's own short backoff.
    this.#call = service.Work(new grpc.Metadata({ waitForReady: true }));
    book.beginStream();
    this.#call.write({ hello: { ...hello, held: book.leases } });
  }

  /**
   * Works until the stream ends; answers null where it ended as agreed.
   * @returns {Promise<Refusal | null>}
   */
  async serve() {
    const { promise, resolve } = Promise.withResolvers();
    this.#call.on('data', (response) => this.#receive(response));
    this.#call.on('drain', () => this.#resume());
    // The first of them counts: an end follows an error as well.
    this.#call.on('error', (error) => resolve(Refusal.fromError(error)));
    this.#call.on('end', () => resolve(null));
    const refusal = await promise;
    this.#isOver = true;
    clearInterval(this.#heartbeats);
    this.#book.endStream(refusal?.reason === 'INVALID_ARGUMENT' ? refusal : null);
    return refusal;
  }

  /** Breaks the stream off. */
  cut() {
    this.#call.cancel();
  }

  #receive(response) {
    if (this.#isOver) return;
    try {
      this.#note(response);
    } catch {
      this.cut(); // it broke the protocol: what was not answered is repeated
    }
  }

  #note(response) {
    switch (response.message) {
      case 'welcome':
        this.#begin(response.welcome);
        break;
      case 'leases':
        this.#book.arrive(response.leases.leases);
        break;
      case 'outcomes':
        this.#book.outcomes(response.outcomes.outcomes);
        break;
      case 'cancels':
        this.#book.cancels(response.cancels.leases);
        break;
      case 'pauses':
        this.#book.pauses(response.pauses.leases);
        break;
      case 'lost':
        this.#book.lost(response.lost.leases);
        break;
      case 'drain':
        this.#book.serverEnds();
        break;
      default: // a newer server's message: to be ignored
    }
  }

  #begin({ held, leaseDurationMs }) {
    this.isWelcome = true;
    this.#log('connected');
    this.#book.welcome(held);
    this.#book.onChange = () => this.#say();
    this.#heartbeats = setInterval(() => this.#beat(), leaseDurationMs / 3);
    this.#say();
  }

  #beat() {
    if (!this.#isHalfClosed) this.#call.write({ heartbeat: {} });
  }

  /** Sends what there is to say, and half-closes where that was all. */
  #say() {
    while (!this.#isHalfClosed && !this.#isOver && !this.#isFull) {
      const next = this.#book.next();
      if (next === 'nothing') return;
      if (next === 'end') {
        this.#isHalfClosed = true;
        this.#call.end();
        return;
      }
      this.#isFull = !this.#call.write(next.request, (error) => error || next.sent?.());
    }
  }

  #resume() {
    this.#isFull = false;
    this.#say();
  }
}
