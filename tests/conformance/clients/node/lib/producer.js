/**
 * Enqueues executions on a Backlane server and reads their results: proto/README.md §4.
 *
 * Every request is repeated until it is answered, which its request_id makes safe: the same id
 * with the same body is the same execution for 24 hours.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { executionService } from './api.js';
import { Refusal } from './refusal.js';

const CALL_TIMEOUT_MS = 30_000;
/** Of one Wait, in seconds; less than its call's, so that it answers. */
const WAIT_TIMEOUT_S = 20;
const WAIT_IDS_MAX = 1000;
/**
 * How many requests go in one message of a stream. The server takes up to 10 000 of them and
 * 16 MiB, and answers each by itself.
 */
const STREAM_ITEMS_MAX = 100;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_LAST_MS = 2000;

/**
 * What became of one request of a stream: an id, or why there is none.
 * @typedef {{executionId: string, existing: boolean} | Refusal} Outcome
 */

/** A client of one tenant. */
export class Producer {
  #service;
  #tenantId;

  /** @param {string} target the server, host:port @param {string} tenantId */
  constructor(target, tenantId) {
    this.#service = executionService(target);
    this.#tenantId = tenantId;
  }

  close() {
    this.#service.close();
  }

  /**
   * Enqueues all requests or none, and answers their execution ids in order. The requests carry
   * no requestId of their own.
   * @param {string} requestId
   * @param {object[]} items
   * @returns {Promise<string[]>}
   */
  async enqueueBatch(requestId, items) {
    const request = { tenantId: this.#tenantId, requestId, items };
    const { results } = await this.#call('EnqueueBatch', request);
    return results.map(({ execution }) => execution.executionId);
  }

  /**
   * Enqueues requests, pipelined, each by itself, and answers one outcome for each, in order.
   * Each needs a requestId: on a stream that breaks off, what was not answered is sent again, and
   * so is what was refused for the moment.
   * @param {object[]} requests
   * @returns {Promise<Outcome[]>}
   */
  async enqueueStream(requests) {
    const outcomes = new Array(requests.length).fill(null);
    let open = [...requests.keys()];
    for (let delay = BACKOFF_FIRST_MS; ; delay = Math.min(2 * delay, BACKOFF_LAST_MS)) {
      const broken = await this.#enqueueOnce(requests, open, outcomes);
      const left = open.filter((index) => outcomes[index]?.isTransient ?? outcomes[index] === null);
      if (left.length === 0) return outcomes;
      if (left.length < open.length) delay = BACKOFF_FIRST_MS;
      open = left;
      await later(broken ?? outcomes[open[0]], delay);
    }
  }

  /**
   * Waits until all executions ended and answers their records, in order.
   * @param {string[]} ids
   * @returns {Promise<object[]>}
   */
  async results(ids) {
    for (let start = 0; start < ids.length; start += WAIT_IDS_MAX) {
      await this.#waitForAll(ids.slice(start, start + WAIT_IDS_MAX));
    }
    const records = [];
    for (const executionId of ids) {
      const request = { tenantId: this.#tenantId, executionId };
      records.push((await this.#call('Get', request)).execution);
    }
    return records;
  }

  async #waitForAll(executionIds) {
    const timeout = { seconds: WAIT_TIMEOUT_S };
    const request = { tenantId: this.#tenantId, executionIds, timeout };
    while (!(await this.#call('Wait', request)).satisfied);
  }

  /** Makes a call until it is answered, or refused for good. */
  async #call(name, request) {
    for (let delay = BACKOFF_FIRST_MS; ; delay = Math.min(2 * delay, BACKOFF_LAST_MS)) {
      try {
        return await this.#callOnce(name, request);
      } catch (refusal) {
        await later(refusal, delay);
      }
    }
  }

  #callOnce(name, request) {
    const { promise, resolve, reject } = Promise.withResolvers();
    this.#service[name](request, { deadline: Date.now() + CALL_TIMEOUT_MS }, (error, response) => {
      if (error === null) resolve(response);
      else reject(Refusal.fromError(error));
    });
    return promise;
  }

  /** Sends the open requests over one stream, notes the outcomes, answers what broke it off. */
  #enqueueOnce(requests, open, outcomes) {
    const stream = this.#service.EnqueueStream();
    const { promise, resolve } = Promise.withResolvers();
    let done = 0;
    stream.on('data', (response) => {
      for (const { result, status } of response.outcomes) {
        outcomes[open[done]] = status ? new Refusal(status) : result;
        done += 1;
      }
    });
    // The first of them counts: an end follows an error as well.
    stream.on('error', (error) => resolve(Refusal.fromError(error)));
    stream.on('end', () => resolve(null));
    send(stream, open.map((index) => requests[index]));
    return promise;
  }
}

/** Sends requests without waiting for outcomes, as fast as the server takes them. */
async function send(stream, requests) {
  for (let start = 0; start < requests.length; start += STREAM_ITEMS_MAX) {
    const items = requests.slice(start, start + STREAM_ITEMS_MAX);
    if (!stream.write({ items })) await new Promise((taken) => stream.once('drain', taken));
  }
  stream.end();
}

/**
 * Waits before a repetition, as long as the server asked for or else some jittered delay. Throws
 * what there is nothing to wait for.
 * @param {Refusal} refusal
 * @param {number} delay in milliseconds
 */
async function later(refusal, delay) {
  if (!refusal.isTransient) throw refusal;
  await sleep(Math.max(refusal.retryAfterMs, delay * (0.5 + Math.random() / 2)));
}
