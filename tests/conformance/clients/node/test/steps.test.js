import assert from 'node:assert/strict';
import { test } from 'node:test';

import { status as codes } from '@grpc/grpc-js';

import { Stopped, Suspended } from '../lib/callable.js';
import { Book } from '../lib/connection/book.js';
import { LOST } from '../lib/connection/journal.js';
import { checkVersion } from '../lib/places.js';
import { Refusal } from '../lib/refusal.js';
import { Context, digestOf, newStepId } from '../lib/steps.js';

const INVALID = new Refusal({ code: codes.INVALID_ARGUMENT, message: 'broken' });
const DONE = { result: {} };
const refusedWith = (code) => ({ status: { code, message: 'refused' } });
const REF = { leaseToken: 'a', executionId: 'exec_a' };
/** The last KSUID: 20 bytes that are all ones. */
const LAST_ID = 'step_aWgEPTl1tmebfsQzFP4bxwgy80V';

const lease = (fields = {}) => ({
  leaseToken: 'a',
  execution: { executionId: 'exec_a' },
  ...fields,
});
const started = (name) => ({ started: { stepId: `step_${name}`, name } });
const said = (book) => book.next().request;

/** A book with one lease that is begun, and what it told of recorded steps. */
function begun() {
  const told = [];
  const book = new Book(1, () => {}, () => {}, () => {}, (_, ...words) => told.push(words));
  book.next(); // the credit
  book.arrive([lease()]);
  book.next().sent();
  return { book, told };
}

/** Expects a report of steps. */
function expectSteps(book, sequence, ...names) {
  const { reports } = said(book).steps;
  assert.equal(reports.length, 1);
  assert.equal(reports[0].sequence, sequence);
  assert.deepEqual(reports[0].actions.map((action) => action.started.name), names);
}

test('a lease says one thing at a time, and its end last', () => {
  const { book, told } = begun();
  book.record('a', 1, started('x'));
  expectSteps(book, 1, 'x');
  book.record('a', 2, started('y'));
  book.record('a', 3, started('z'));
  book.complete('a', '1');
  assert.deepEqual(said(book), { credit: { executions: 1 } });
  assert.equal(book.next(), 'nothing');
  book.outcomes([DONE]);
  assert.deepEqual(told, [[1, null]]);
  expectSteps(book, 2, 'y', 'z');
  book.outcomes([DONE]);
  assert.deepEqual(Object.keys(said(book)), ['complete']);
});

test('a report of steps is repeated with its number', () => {
  const { book } = begun();
  book.record('a', 1, started('x'));
  expectSteps(book, 1, 'x');
  book.record('a', 2, started('y'));
  book.endStream(null);
  book.beginStream();
  book.welcome([REF]);
  expectSteps(book, 1, 'x');
  book.outcomes([DONE]);
  expectSteps(book, 2, 'y');
});

test('a refused report of steps is answered, and the lease goes on', () => {
  const { book, told } = begun();
  book.record('a', 1, started('x'));
  said(book);
  book.outcomes([refusedWith(codes.OUT_OF_RANGE)]);
  assert.match(told[0][1], /refused/);
  book.record('a', 2, started('y'));
  expectSteps(book, 2, 'y');
});

test('a report of steps that ends a stream is answered', () => {
  const { book, told } = begun();
  book.record('a', 1, started('x'));
  said(book);
  book.record('a', 2, started('y'));
  book.endStream(INVALID);
  assert.deepEqual(told, [[1, INVALID.message]]);
  book.beginStream();
  expectSteps(book, 2, 'y');
});

test('a lost lease answers its steps, and says nothing', () => {
  const ways = [
    (book) => book.lost([REF]),
    (book) => {
      book.endStream(null);
      book.beginStream();
      book.welcome([]);
    },
  ];
  for (const lose of ways) {
    const { book, told } = begun();
    book.record('a', 1, started('x'));
    said(book);
    book.record('a', 2, started('y'));
    lose(book);
    book.record('a', 3, started('z'));
    assert.deepEqual(told, [[1, LOST], [2, LOST], [3, LOST]]);
    book.complete('a', '1');
    assert.deepEqual(said(book), { credit: { executions: 1 } });
    assert.equal(book.next(), 'nothing');
  }
});

test('a refused suspension fails, and a pause that is over releases', () => {
  for (const [waits, next] of [[[{ name: 'w' }], 'fail'], [[], 'release']]) {
    const { book } = begun();
    book.suspend('a', waits);
    assert.deepEqual(said(book).suspend.suspensions, [{ ...REF, waits, schemaVersion: '' }]);
    book.outcomes([refusedWith(codes.INVALID_ARGUMENT)]);
    assert.deepEqual(Object.keys(said(book)), [next]);
  }
});

test('a lease that comes paused is yielded at once, and one that runs is told', () => {
  const paused = [];
  const book = new Book(2, () => {}, () => {}, (token) => paused.push(token));
  book.arrive([lease({ pauseRequested: true })]);
  book.next().sent();
  assert.deepEqual(said(book).suspend.suspensions, [{ ...REF, waits: [], schemaVersion: '' }]);
  book.arrive([{ ...lease(), leaseToken: 'b' }]);
  book.next().sent();
  book.pauses([{ leaseToken: 'b' }, { leaseToken: 'unknown' }]);
  assert.deepEqual(paused, ['b']);
});

// The steps of a callable.

const recorded = (name, output, more = {}) => ({
  name,
  state: 'STEP_STATE_COMPLETED',
  output,
  ...more,
});
const failed = (name, more = {}) => ({ name, state: 'STEP_STATE_FAILED', ...more });
const over = (name, output, more = {}) => ({
  ...recorded(name, output, more),
  stepType: 'STEP_TYPE_WAIT',
});
/** A step that was done again because that one had failed. */
const again = (id) => ({ source: { sourceType: 'STEP_SOURCE_TYPE_RETRY', triggeredBy: id } });
const never = () => assert.fail('called');

/** The context of a callable whose lease carries these steps, and what it reports. */
function callable(...steps) {
  const actions = [];
  const controller = new AbortController();
  const record = async (action) => void actions.push(action);
  const context = new Context({ steps }, controller.signal, record);
  return { context, actions, controller };
}

test('a completed step is found by its name and its occurrence', async () => {
  const { context, actions } = callable(recorded('x', '1'), recorded('y', '2'), recorded('x', '3'));
  const outputs = [];
  for (const name of ['x', 'x', 'y']) {
    outputs.push(await context.step(name, () => assert.fail('called')));
  }
  assert.deepEqual(outputs, [1, 3, 2]);
  assert.deepEqual(actions, []);
});

test('a step is reported, and a failed one is done again as a new one', async () => {
  const before = { id: 'step_before', name: 'x', state: 'STEP_STATE_FAILED' };
  const { context, actions } = callable(before);
  assert.deepEqual(await context.step('x', async () => ({ n: 1 })), { n: 1 });
  const [{ started }, { completed }] = actions;
  assert.equal(started.source.triggeredBy, 'step_before');
  assert.notEqual(started.stepId, 'step_before');
  assert.deepEqual(completed, { stepId: started.stepId, output: '{"n":1}' });
});

test('a failed step counts among those of its name', async () => {
  const { context, actions } = callable(failed('x', { id: 'x0' }), recorded('x', '1'));
  assert.equal(await context.step('x', () => 0), 0);
  assert.equal(await context.step('x', never), 1);
  assert.equal(await context.step('x', () => 2), 2);
  const begun = actions.flatMap(({ started }) => started ?? []);
  assert.deepEqual(begun.map(({ source }) => source?.triggeredBy), ['x0', undefined]);
});

test('a failed step and its retry have one place', async () => {
  const { context } = callable(
    failed('x', { id: 'x0' }),
    recorded('x', '1', { id: 'x1' }),
    failed('x', { id: 'x0 again', ...again('x0') }),
    recorded('x', '0', { id: 'x0 at last', ...again('x0 again') }),
    recorded('y', '2', { id: 'y0', ...again('x0') }),
  );
  assert.equal(await context.step('x', never), 0);
  assert.equal(await context.step('x', never), 1);
  assert.equal(await context.step('x', () => 3), 3);
  assert.equal(await context.step('y', never), 2);
});

test('a wait takes the place of the first that failed', async () => {
  const ended = { ...failed('w'), stepType: 'STEP_TYPE_WAIT' };
  const { context } = callable(over('w', '0'), ended, over('w', '1'), over('w', '2'));
  const inputs = [];
  for (let count = 0; count < 3; count += 1) inputs.push(await context.waitForInput('w', 'key'));
  assert.deepEqual(inputs, [0, 1, 2]);
});

test('steps inside of steps are not counted', async () => {
  const { context } = callable(
    recorded('x', '1', { parentStepId: 'outer' }),
    recorded('x', '2'),
  );
  assert.equal(await context.step('x', never), 2);
});

test('a key tells steps apart', async () => {
  const { context } = callable(recorded('x', '1'), recorded('x', '2', { key: 'b' }));
  assert.equal(await context.step('x', never, { key: 'b' }), 2);
});

test("another step's output is not used", async () => {
  const told = { code: 'STEP_MISMATCH', category: 'validation_error' };
  const isMismatch = ({ options }) => assert.deepEqual(options, told) ?? true;
  const { context: first, actions } = callable();
  await first.step('x', () => 1, { arguments: [1, 'a'] });
  const { argumentsHash } = actions[0].started;
  const same = callable(recorded('x', '1', { argumentsHash })).context;
  assert.equal(await same.step('x', never, { arguments: [1, 'a'] }), 1);
  for (const options of [{ arguments: [1, 'b'] }, {}]) {
    const { context } = callable(recorded('x', '1', { argumentsHash }));
    await assert.rejects(context.step('x', never, options), isMismatch);
  }
  await assert.rejects(callable(over('x')).context.step('x', never), isMismatch);
  await assert.rejects(callable(recorded('x', '1')).context.sleep('x', 1), isMismatch);
});

test('the hash of arguments is that of other languages', () => {
  assert.equal(digestOf().toString('hex'), '5eed25f9aa1c68139fe47d7ea93769c1');
  const some = ['<é>', 7, true, null, { b: 1, a: [2] }];
  assert.equal(digestOf(some).toString('hex'), 'a066c4e445ad90b8674d676cc17efa17');
});

test('steps of another version are not used', () => {
  const steps = [recorded('x', '1')];
  checkVersion({ steps, schemaVersion: '1' }, '1');
  checkVersion({ steps: [], schemaVersion: '1' }, '2');
  checkVersion({ steps }, '');
  const isRefused = ({ options }) => options.code === 'STEP_VERSION';
  assert.throws(() => checkVersion({ steps, schemaVersion: '1' }, '2'), isRefused);
  assert.throws(() => checkVersion({ steps, schemaVersion: '1' }, ''), isRefused);
});

test('reports of steps and suspensions name the version', () => {
  const none = () => {};
  const book = new Book(1, none, none, none, none, { steps: '7' });
  book.next();
  book.arrive([{ leaseToken: 'a', execution: { executionId: 'exec_a', callableName: 'steps' } }]);
  book.next().sent();
  book.record('a', 1, started('x'));
  assert.equal(said(book).steps.reports[0].schemaVersion, '7');
  book.outcomes([DONE]);
  book.suspend('a', []);
  assert.equal(said(book).suspend.suspensions[0].schemaVersion, '7');
});

test('an error of a step is reported and thrown', async () => {
  const { context, actions } = callable();
  const failing = context.step('x', () => {
    throw new Error('it broke');
  });
  await assert.rejects(failing, /it broke/);
  assert.match(actions[1].failed.error.message, /it broke/);
});

test('a pause lets no step begin', async () => {
  const { context } = callable(recorded('x', '1'));
  context.pause();
  assert.equal(await context.step('x', () => 2), 1);
  await assert.rejects(context.step('x', () => 2), Suspended);
});

test('a step that is told to stop does not wait for its outcome', async () => {
  const controller = new AbortController();
  const context = new Context({}, controller.signal, () => new Promise(() => {}));
  const step = context.step('x', () => 1);
  setImmediate(() => controller.abort(new Stopped('draining')));
  await assert.rejects(step, Stopped);
});

test('a step takes no steps', async () => {
  const { context } = callable();
  const nested = context.step('x', () => context.waitForInput('w', 'key'));
  await assert.rejects(nested, /one after the other/);
});

test('a wait suspends until it is over', async () => {
  const { context } = callable();
  const waiting = await context.waitForInput('w', 'key').catch((error) => error);
  assert.ok(waiting instanceof Suspended);
  const [{ name, key }] = waiting.waits;
  assert.deepEqual({ name, key }, { name: 'w', key: 'key' });
  const later = callable(over('w', '{"yes": true}')).context;
  assert.deepEqual(await later.waitForInput('w', 'key'), { yes: true });
});

test('a wait without input says so, and a sleep does not', async () => {
  const { context } = callable(over('w'), over('w'));
  await assert.rejects(context.waitForInput('w', 'key'), /without input/);
  await context.sleep('w', 1);
});

test('an open wait goes on under its id', async () => {
  const { context } = callable({ ...over('w'), id: 'step_open', state: 'STEP_STATE_RUNNING' });
  const waiting = await context.sleep('w', 1000).catch((error) => error);
  assert.deepEqual(waiting.waits, [{ name: 'w', waitMs: 1000, stepId: 'step_open' }]);
});

test('a step id is a KSUID', () => {
  for (let count = 0; count < 100; count += 1) {
    const id = newStepId();
    assert.match(id, /^step_[0-9A-Za-z]{27}$/);
    assert.ok(id < LAST_ID);
  }
});
