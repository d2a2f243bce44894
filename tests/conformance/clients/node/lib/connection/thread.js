/**
 * The thread of a worker's connection. It renews leases and takes in cancels whatever the
 * callables on the main thread do, even where one of them blocks it for a minute.
 *
 * Up: {begin: lease}, {stop: {token, reason}}, {pause: {token}}, {recorded: {token, number,
 * error}}, {log: text}. Down: {record: [token, number, action]}, {complete: [token, output]},
 * {fail: [token, failure]}, {suspend: [token, waits]}, {yield: [token]}, {drain: []}. An error that
 * ends the connection ends the thread.
 */
import { parentPort, workerData } from 'node:worker_threads';

import { Connection } from './connection.js';

const connection = new Connection(workerData, {
  begin: (lease) => parentPort.postMessage({ begin: lease }),
  stop: (token, reason) => parentPort.postMessage({ stop: { token, reason } }),
  pause: (token) => parentPort.postMessage({ pause: { token } }),
  tell: (token, number, error) => parentPort.postMessage({ recorded: { token, number, error } }),
  log: (text) => parentPort.postMessage({ log: text }),
});

parentPort.on('message', (message) => {
  const [[verb, words]] = Object.entries(message);
  if (verb === 'drain') connection.drain();
  else connection.book[verb](...words);
});

await connection.run();
// The port alone would keep the thread alive.
parentPort.close();
