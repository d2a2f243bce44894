/** What the programs take from the command line. */
import { parseArgs } from 'node:util';

/** An option with a text. @param {string} fallback */
export const option = (fallback) => ({ type: 'string', default: fallback });

/**
 * Reads the options, or shows them and ends the program.
 * @template {Record<string, {type: 'string', default: string}>} T
 * @param {T} options by name
 * @returns {Record<keyof T, string>}
 */
export function readOptions(options) {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    const names = Object.entries(options).map(([name, { default: text }]) => `--${name} ${text}`);
    console.error(`${error.message}\noptions and their defaults:\n  ${names.join('\n  ')}`);
    return process.exit(2);
  }
}
