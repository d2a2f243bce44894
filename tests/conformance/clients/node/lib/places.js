/**
 * Owns which recorded step stands in which place, and whether the code fits what is recorded.
 *
 * @typedef {object} Call a step or a wait that a callable comes to
 * @property {string} name
 * @property {string} [key] tells steps of one name apart
 * @property {boolean} [isWait]
 * @property {Uint8Array} [digest] the hash of its arguments; a wait has none
 */
import { Failure } from './callable.js';

/** The steps that earlier attempts recorded, and how many of them this attempt has come to. */
export class Places {
  /** By name and key, each in its place: of a step that was done again, the newest run. */
  #steps;
  /** @type {Map<string, number>} */
  #taken = new Map();

  /** @param {object[]} steps of backlane.v1.Step */
  constructor(steps) {
    this.#steps = inPlaces(steps);
  }

  /**
   * Comes to the next step of a name and a key, and answers what is recorded in its place.
   * Throws a Failure if that is another step.
   * @param {Call} call
   * @returns {object | undefined}
   */
  enter(call) {
    const identity = identityOf(call);
    const number = this.#taken.get(identity) ?? 0;
    const recorded = this.#steps.get(identity)?.[number];
    if (recorded !== undefined && !hasFailed(recorded)) compare(recorded, call);
    this.#taken.set(identity, number + 1);
    return recorded;
  }
}

/**
 * Refuses a lease whose steps another version of its callable recorded.
 * @param {object} lease a backlane.v1.Lease
 * @param {string} version
 */
export function checkVersion(lease, version) {
  const theirs = lease.schemaVersion ?? '';
  if (theirs === version || (lease.steps ?? []).length === 0) return;
  throw notAsRecorded(
    'STEP_VERSION',
    `its steps were recorded by version '${theirs}' of the callable, ` +
      `and this worker has version '${version}'`,
  );
}

function inPlaces(steps) {
  const places = new Map();
  const spots = new Map();
  for (const step of steps) {
    // A worker that takes steps inside of steps counts those apart.
    if (typeof step.parentStepId === 'string') continue;
    const identity = identityOf(step);
    if (!places.has(identity)) places.set(identity, []);
    const known = places.get(identity);
    const number = earlierRun(step, identity, known, spots) ?? known.length;
    known[number] = step;
    spots.set(step.id, { identity, number });
  }
  return places;
}

/** The number of the step that a step is another run of; undefined if it is the first one. */
function earlierRun(step, identity, known, spots) {
  if (isWait(step)) {
    // A wait names none. It fails only with its attempt, and is always done again.
    const failed = known.findIndex(hasFailed);
    return failed === -1 ? undefined : failed;
  }
  if (step.source?.sourceType !== 'STEP_SOURCE_TYPE_RETRY') return undefined;
  const earlier = spots.get(step.source.triggeredBy);
  return earlier?.identity === identity ? earlier.number : undefined;
}

function compare(recorded, { name, isWait: isWaitNow = false, digest = new Uint8Array() }) {
  if (isWait(recorded) !== isWaitNow) {
    const [before, now] = isWaitNow ? ['no wait', 'a wait'] : ['a wait', 'no wait'];
    throw mismatch(`step ${name} was ${before} in an earlier attempt and is ${now} now`);
  }
  const hash = recorded.argumentsHash ?? new Uint8Array();
  if (hash.length > 0 && Buffer.compare(hash, digest) !== 0) {
    throw mismatch(
      `step ${name} had other arguments in an earlier attempt: a callable has to take the same ` +
        'steps in each attempt, or another version',
    );
  }
}

const mismatch = (message) => notAsRecorded('STEP_MISMATCH', message);

/** The code and what is recorded do not fit. The server retries nothing of this category. */
function notAsRecorded(code, message) {
  return new Failure(message, { category: 'validation_error', code });
}

const identityOf = ({ name, key }) => JSON.stringify([name, key ?? '']);
const isWait = ({ stepType }) => stepType === 'STEP_TYPE_WAIT';
const hasFailed = ({ state }) => state === 'STEP_STATE_FAILED';
