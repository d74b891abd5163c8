/**
 * Reading of the file that ENV_FILE names: KEY=VALUE lines, no expansion.
 *
 * Node 18 has no reader of its own for these files (process.loadEnvFile came with 20.12).
 */
import { readFileSync } from 'node:fs';

import { ConfigError } from './errors.js';

const LINE = /^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)$/;

/**
 * Parse the text of an environment file.
 *
 * @param {string} text content of the file
 * @param {string} name the file's name, for messages
 * @returns {Record<string, string>} the variables; of a name written twice that is an error
 * @throws {ConfigError} naming file and line, never the value
 */
export function parseEnvFile(text, name) {
  const variables = {};
  text.split(/\r?\n/).forEach((raw, index) => {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) return;
    const where = `${name} line ${index + 1}`;
    const match = LINE.exec(line);
    if (!match) throw new ConfigError(`${where}: must be KEY=VALUE`);
    const [, key, value] = match;
    if (Object.hasOwn(variables, key)) throw new ConfigError(`${where}: ${key} is written twice`);
    const quote = value[0];
    if (quote === '"' || quote === "'") {
      if (value.length < 2 || !value.endsWith(quote)) throw new ConfigError(`${where}: ${key} lacks its closing quote`);
      variables[key] = value.slice(1, -1);
    } else {
      variables[key] = value;
    }
  });
  return variables;
}

/**
 * The environment with the variables of ENV_FILE added; what the process already has wins.
 *
 * @param {Record<string, string | undefined>} environment usually process.env
 * @returns {Record<string, string | undefined>}
 * @throws {ConfigError} when the file cannot be read or parsed
 */
export function withEnvFile(environment) {
  const name = environment.ENV_FILE;
  if (!name) return { ...environment };
  let text;
  try {
    text = readFileSync(name, 'utf8');
  } catch (error) {
    throw new ConfigError(`ENV_FILE: ${name} cannot be read (${error.code})`);
  }
  return { ...parseEnvFile(text, name), ...environment };
}
