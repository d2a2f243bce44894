import assert from 'node:assert/strict';
import { test } from 'node:test';

import { status as codes } from '@grpc/grpc-js';

import { Book } from '../lib/connection/book.js';
import { Refusal } from '../lib/refusal.js';

const INVALID = new Refusal({ code: codes.INVALID_ARGUMENT, message: 'broken' });
const DONE = { result: {} };

const lease = (token) => ({ leaseToken: token, execution: { executionId: `exec_${token}` } });
const said = (book) => book.next().request;
const tokensOf = ({ complete, fail }) =>
  (complete?.results ?? fail.failures).map(({ leaseToken }) => leaseToken);

/** A book whose leases are begun and completed, and whose reports are not sent yet. */
function filled(...tokens) {
  const book = new Book(tokens.length, () => {}, () => {});
  book.arrive(tokens.map(lease));
  book.next().sent();
  for (const token of tokens) book.complete(token, '1');
  return book;
}

test('a lease is begun once it is acknowledged', () => {
  const begun = [];
  const book = new Book(1, ({ leaseToken }) => begun.push(leaseToken), () => {});
  book.arrive([lease('a')]);
  const { sent } = book.next();
  assert.deepEqual(begun, []);
  sent();
  assert.deepEqual(begun, ['a']);
});

test('reports are batched, and repeated until they are answered', () => {
  const book = filled('a', 'b');
  assert.deepEqual(tokensOf(said(book)), ['a', 'b']);
  book.endStream(null);
  book.beginStream();
  assert.deepEqual(tokensOf(said(book)), ['a', 'b']);
  book.outcomes([DONE, DONE]);
  assert.deepEqual(book.leases, []);
});

test('what the welcome does not list is dropped, unless it was said', () => {
  const stopped = [];
  const book = new Book(2, () => {}, (...words) => stopped.push(words));
  book.arrive([lease('said'), lease('running')]);
  book.next().sent();
  book.complete('said', '1');
  said(book);
  book.endStream(null);
  book.beginStream();
  book.welcome([]);
  assert.deepEqual(stopped, [['running', 'leaseLost']]);
  assert.deepEqual(tokensOf(said(book)), ['said']);
});

test('nothing is reported of a lost lease', () => {
  const book = filled('a', 'b');
  book.lost([{ leaseToken: 'a' }]);
  assert.deepEqual(tokensOf(said(book)), ['b']);
});

test('a message that is refused is taken apart, and its culprit fails', () => {
  const book = filled('a', 'b');
  said(book);
  book.endStream(INVALID);
  book.beginStream();
  assert.deepEqual(tokensOf(said(book)), ['a']);
  assert.deepEqual(tokensOf(said(book)), ['b']);
  book.endStream(INVALID);
  book.beginStream();
  assert.deepEqual(Object.keys(said(book)), ['fail']);
  assert.deepEqual(tokensOf(said(book)), ['b']);
});

test('a refused output fails, and a refused failure is released', () => {
  const book = filled('a');
  const refused = { status: { code: codes.OUT_OF_RANGE, message: 'too large' } };
  said(book);
  book.outcomes([refused]);
  assert.deepEqual(Object.keys(said(book)), ['fail']);
  book.outcomes([refused]);
  assert.deepEqual(Object.keys(said(book)), ['release']);
});

test('credit is given for free slots alone', () => {
  const book = new Book(3, () => {}, () => {});
  assert.deepEqual(said(book), { credit: { executions: 3 } });
  book.arrive([lease('a'), lease('b')]);
  book.next().sent();
  assert.equal(book.next(), 'nothing');
  book.complete('a', '1');
  said(book); // the report
  assert.deepEqual(said(book), { credit: { executions: 1 } });
});

test('a drain gives back what has not begun, and ends the stream', () => {
  const book = new Book(1, () => assert.fail('begun'), () => {});
  book.arrive([lease('a')]);
  book.drain();
  assert.deepEqual(said(book), { drain: {} });
  book.next().sent();
  assert.deepEqual(Object.keys(said(book)), ['release']);
  assert.equal(book.next(), 'nothing');
  book.outcomes([DONE]);
  assert.equal(book.next(), 'end');
});

test('an attempt is stopped when its remaining time has passed, whatever the clocks say', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const stopped = [];
  const book = new Book(1, () => {}, (...words) => stopped.push(words));
  const attemptDeadline = { seconds: 0, nanos: 0 };
  book.arrive([{ ...lease('a'), attemptDeadline, attemptRemainingMs: 1000 }]);
  book.next().sent();
  t.mock.timers.tick(999);
  assert.deepEqual(stopped, []);
  t.mock.timers.tick(1);
  assert.deepEqual(stopped, [['a', 'timedOut']]);
});
