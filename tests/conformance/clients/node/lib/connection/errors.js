/** The errors of callables and of steps, as the server takes them. */
import { toValue } from '../value.js';

/** Where the server cuts a message. */
const MESSAGE_CHARACTERS_MAX = 8 << 10;

/**
 * Makes a backlane.v1.ExecutionError.
 * @param {import('../callable.js').FailureOptions & {message: string}} failure
 */
export function toError(failure) {
  const error = {
    category: `ERROR_CATEGORY_${(failure.category ?? 'tool_error').toUpperCase()}`,
    message: failure.message.slice(0, MESSAGE_CHARACTERS_MAX).toWellFormed(),
  };
  if (failure.code) error.code = failure.code.toWellFormed();
  if (failure.isFinal) error.retryPolicy = { retryable: false };
  if (failure.details !== undefined) error.details = toValue(failure.details);
  return error;
}
