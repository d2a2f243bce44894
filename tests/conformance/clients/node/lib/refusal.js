/**
 * Reads the errors of a Backlane server: proto/README.md §8.
 *
 * An error is a google.rpc.Status whose details hold one ErrorInfo of domain "backlane", and
 * beside it perhaps the fields that broke a rule and the time after which to try again.
 */
import { status as codes } from '@grpc/grpc-js';

import { decode } from './api.js';

const DOMAIN = 'backlane';
const TYPE_PREFIX = 'type.googleapis.com/';

/** One error of a server, of a call or of one item of it. */
export class Refusal extends Error {
  /**
   * @param {object} status a google.rpc.Status
   * @param {number} status.code
   * @param {string} status.message
   * @param {{type_url: string, value: Buffer}[]} [status.details]
   */
  constructor({ code, message, details = [] }) {
    super(message);
    this.name = 'Refusal';
    /** A code of gRPC. */
    this.code = code;
    /** What to branch on, such as LEASE_LOST; empty where no Backlane server spoke. */
    this.reason = '';
    /** Every variable of the message. @type {Record<string, string>} */
    this.metadata = {};
    /** The fields that broke a rule. @type {{path: string, rule: string}[]} */
    this.fields = [];
    /** When to try again; 0 where the server did not say. */
    this.retryAfterMs = 0;
    for (const { type_url: url, value } of details) this.#add(url.slice(TYPE_PREFIX.length), value);
    this.message = `${this.reason || codes[code]}: ${message}${this.#fieldsNotNamed(message)}`;
  }

  /**
   * Reads the error of a call.
   * @param {import('@grpc/grpc-js').ServiceError} error
   */
  static fromError(error) {
    if (error instanceof Refusal) return error;
    const [encoded] = error.metadata?.get('grpc-status-details-bin') ?? [];
    const known = encoded === undefined ? {} : decode('google.rpc.Status', encoded);
    return new Refusal({ code: error.code, message: error.details, details: known.details });
  }

  /**
   * Whether the same again may be accepted later. What was broken off may have happened: repeat
   * it with the same request_id or lease_token.
   */
  get isTransient() {
    if (this.code === codes.UNAVAILABLE || this.code === codes.DEADLINE_EXCEEDED) return true;
    // Without a reason it is gRPC's own limit on a message's size, which stays.
    return this.code === codes.RESOURCE_EXHAUSTED && this.reason !== '';
  }

  #add(type, bytes) {
    if (type === 'google.rpc.ErrorInfo') {
      const { domain, reason, metadata } = decode(type, bytes);
      if (domain === DOMAIN) Object.assign(this, { reason, metadata });
    } else if (type === 'google.rpc.BadRequest') {
      const { fieldViolations } = decode(type, bytes);
      this.fields = fieldViolations.map((broken) => ({
        path: broken.field,
        rule: broken.description,
      }));
    } else if (type === 'google.rpc.RetryInfo') {
      const { seconds = 0, nanos = 0 } = decode(type, bytes).retryDelay ?? {};
      this.retryAfterMs = seconds * 1000 + nanos / 1e6;
    }
  }

  #fieldsNotNamed(message) {
    const others = this.fields.filter(({ path }) => !message.includes(path));
    return others.map(({ path, rule }) => ` (${path}: ${rule})`).join('');
  }
}
