/** Which release and version this process runs. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The folder this process was started from. Node resolves symbolic links of loaded modules, so
 * under `current -> releases/<id>` this is the release's own folder and stays so when `current` moves on.
 */
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * @param {string | undefined} fallback release id where the folder has no file RELEASE
 * @returns {{version: string, release: string}}
 */
export function identify(fallback) {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  let release = fallback ?? 'unreleased';
  try {
    release = readFileSync(join(ROOT, 'RELEASE'), 'utf8').trim() || release;
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  return { version, release };
}
