/**
 * What a callable is given and may answer.
 *
 * @typedef {'cancelRequested' | 'leaseLost' | 'draining' | 'timedOut'} StopReason
 *   Why an attempt is to stop: a client asked for it (a result is accepted for 10 s); another has
 *   the lease (whatever is answered is dropped); the worker's drain is over; the attempt's
 *   deadline passed.
 *
 * @callback Callable runs one attempt of an execution. What it answers is the output, as JSON; an
 *   error fails the attempt. A callable that throws the signal's reason has stopped as asked, and
 *   its lease is given back. Delivery is at least once: executionId and attempt tell attempts
 *   apart.
 * @param {object} lease a backlane.v1.Lease: `execution`, `attempt`
 * @param {AbortSignal} signal its reason is a Stopped
 * @param {import('./steps.js').Context} context takes durable steps, and waits
 * @returns {unknown}
 *
 * @typedef {object} FailureOptions
 * @property {string} [category] `tool_error`, which is the default, `network_error`, …
 * @property {string} [code] a short name, such as `rate_limit`
 * @property {boolean} [isFinal] asks for no retry, whatever the execution's retry rule says
 * @property {number} [retryAfterMs] takes the place of the backoff where a retry follows
 * @property {boolean} [isThrottled] again after retryAfterMs, which it needs; nothing is spent
 * @property {unknown} [details] any JSON, up to 64 KiB
 */

/** An error that says more than its text. Any other is reported as a tool_error. */
export class Failure extends Error {
  /** @param {string} message @param {FailureOptions} [options] */
  constructor(message, options = {}) {
    super(message);
    this.name = 'Failure';
    this.options = options;
  }
}

/** The reason of a signal. */
export class Stopped extends Error {
  /** @param {StopReason} reason */
  constructor(reason) {
    super(reason);
    this.name = 'AbortError';
    this.reason = reason;
  }
}

/**
 * Ends a callable whose execution waits without a worker, or yields to a pause. A callable must let
 * it pass; it is called anew when the wait is over.
 */
export class Suspended extends Error {
  /** @param {object[]} waits of backlane.v1.WaitPoint */
  constructor(waits) {
    super('suspended');
    this.name = 'Suspended';
    this.waits = waits;
  }
}

/** What an error says. @returns {FailureOptions & {message: string}} */
export function failureOf(error) {
  if (error instanceof Failure) return { ...error.options, message: error.message };
  return { message: String(error) };
}

/**
 * Makes a callable of a function whose input is a JSON document; none at all is null. An input
 * that is no JSON is a validation_error, which no retry follows.
 * @param {(input: any, signal: AbortSignal, lease: object,
 *   context: import('./steps.js').Context) => unknown} run
 * @returns {Callable}
 */
export function json(run) {
  return (lease, signal, context) =>
    run(parse(lease.execution.input ?? 'null'), signal, lease, context);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Failure(`input: ${error.message}`, { category: 'validation_error' });
  }
}
