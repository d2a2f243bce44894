/**
 * The messages and services of proto/, loaded when the program starts, and how to reach a server.
 *
 * Fields are in camelCase, enums are their names, 64-bit integers are numbers; what is absent is
 * null or missing.
 */
import { fileURLToPath } from 'node:url';

import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const PROTO = fileURLToPath(new URL('../../../../../proto', import.meta.url));

const definitions = loadSync(
  [
    'backlane/v1/execution_service.proto',
    'backlane/v1/worker_service.proto',
    'google/rpc/error_details.proto',
    'google/rpc/status.proto',
  ],
  { includeDirs: [PROTO], longs: Number, enums: String, arrays: true, oneofs: true },
);

const services = grpc.loadPackageDefinition(definitions).backlane.v1;

/** gRPC's own backoff begins at a second and grows to two minutes. */
const CHANNEL_OPTIONS = {
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 1000,
  // So that a server that vanished without a word is noticed.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5000,
  'grpc.max_receive_message_length': 20 << 20,
  'grpc.max_send_message_length': 20 << 20,
};

/**
 * The producers' calls of the server at target, host:port.
 * @param {string} target
 */
export function executionService(target) {
  return new services.ExecutionService(target, grpc.credentials.createInsecure(), CHANNEL_OPTIONS);
}

/**
 * The workers' calls of the server at target, host:port.
 * @param {string} target
 */
export function workerService(target) {
  return new services.WorkerService(target, grpc.credentials.createInsecure(), CHANNEL_OPTIONS);
}

/**
 * Reads an encoded message of that name, such as `google.rpc.Status`.
 * @param {string} name
 * @param {Uint8Array} bytes
 */
export function decode(name, bytes) {
  return definitions[name].deserialize(bytes);
}
