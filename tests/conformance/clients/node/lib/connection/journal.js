/**
 * Owns what one lease has to say: what happened to its steps, in order, and then what became of it.
 * It says one thing at a time, so that a report that has to be repeated is never overtaken.
 *
 * @typedef {import('./reports.js').LeaseRef} LeaseRef
 * @typedef {import('./reports.js').Report} Report
 * @typedef {object} Entry one thing that happened to a step
 * @property {number} number names the entry to the callable's thread
 * @property {object} action a backlane.v1.StepAction
 */
import { stepsReported } from './reports.js';

/** What an entry is told whose lease is lost. */
export const LOST = 'the lease is lost';

export class Journal {
  #ref;
  #report;
  #tell;
  #version;
  /** The report of steps that has no answer yet. @type {Report | null} */
  #said = null;
  /** @type {Entry[]} */
  #unsaid = [];
  #sequence = 0;
  /** What became of the lease, until it is said. @type {Report | null} */
  #end = null;

  /**
   * @param {LeaseRef} ref
   * @param {(item: Report) => void} report hands over what is to be sent
   * @param {(token: string, number: number, error: string | null) => void} tell gets the outcome
   *   of an entry: null if it is recorded
   * @param {string} version that of the callable
   */
  constructor(ref, report, tell, version) {
    this.#ref = ref;
    this.#report = report;
    this.#tell = tell;
    this.#version = version;
  }

  /** @param {Entry} entry */
  record(entry) {
    this.#unsaid.push(entry);
    this.#say();
  }

  /** @param {Report} report what became of the lease */
  end(report) {
    this.#end = report;
    this.#say();
  }

  /**
   * Takes in the outcome of a report of steps.
   * @param {Report} report
   * @param {string | null} error why it was refused
   */
  answered(report, error) {
    this.#close(report.entries, error);
    if (report.body.sequence === this.#said?.body.sequence) this.#said = null;
    this.#say();
  }

  /** Tells those who wait for an outcome that none will come. */
  close() {
    this.#close([...(this.#said?.entries ?? []), ...this.#unsaid], LOST);
    this.#said = null;
    this.#unsaid = [];
    this.#end = null;
  }

  #close(entries, error) {
    for (const { number } of entries) this.#tell(this.#ref.leaseToken, number, error);
  }

  #say() {
    if (this.#said !== null) return;
    if (this.#unsaid.length > 0) {
      this.#sequence += 1;
      this.#said = stepsReported(this.#ref, this.#sequence, this.#unsaid, this.#version);
      this.#unsaid = [];
      this.#report(this.#said);
    } else if (this.#end !== null) {
      this.#report(this.#end);
      this.#end = null;
    }
  }
}
