/** A log file that follows its name when logrotate moves the old file away. */
import { open, stat } from 'node:fs/promises';
import { Writable } from 'node:stream';

const CHECK_EVERY_MS = 1000;
const MAX_WAITING_BYTES = 8 * 1024 * 1024;
const COMPLAIN_EVERY_MS = 60_000;

/**
 * Appends to `path`, and opens it anew when the name points to another file or to none: at most
 * {@link CHECK_EVERY_MS} after a rotation, without a signal. (PM2's reloadLogs reaches PM2's own
 * files only, and a signal sent to a worker before its handler is set would kill it.)
 *
 * Several processes may append to one file: each line is one write in append mode.
 * A full disk costs log lines, never requests: lines that cannot be written are dropped and counted
 * on standard error.
 */
export class ReopeningFile extends Writable {
  #path;
  #handle = null;
  #identity = '';
  #checkedAt = 0;
  #dropped = 0;
  #complainedAt = -Infinity;

  /** @param {string} path file to append to; its folder must exist */
  constructor(path) {
    super({ decodeStrings: true });
    this.#path = path;
  }

  /** Write one line; dropped when too much waits already for a slow disk, or the process is about to end. */
  write(chunk, ...rest) {
    if (this.writableEnded) return true;
    if (this.writableLength > MAX_WAITING_BYTES) {
      this.#drop(1, 'the disk is too slow');
      return true;
    }
    return super.write(chunk, ...rest);
  }

  _writev(chunks, callback) {
    this.#append(Buffer.concat(chunks.map(({ chunk }) => chunk)))
      .catch((error) => this.#drop(chunks.length, error.code ?? error.message))
      .finally(() => callback());
  }

  _write(chunk, _encoding, callback) {
    this._writev([{ chunk }], callback);
  }

  _final(callback) {
    (this.#handle ? this.#handle.close() : Promise.resolve()).then(() => callback(), callback);
  }

  async #append(data) {
    await this.#follow();
    // write() may take only a part, as on a nearly full disk.
    for (let offset = 0; offset < data.length;) {
      const { bytesWritten } = await this.#handle.write(data, offset);
      offset += bytesWritten;
    }
  }

  async #follow() {
    const now = Date.now();
    if (this.#handle && now - this.#checkedAt < CHECK_EVERY_MS) return;
    this.#checkedAt = now;
    if (this.#handle) {
      const current = await stat(this.#path).catch(() => null);
      if (current && `${current.dev}:${current.ino}` === this.#identity) return;
      await this.#handle.close();
      this.#handle = null;
    }
    this.#handle = await open(this.#path, 'a', 0o640);
    const { dev, ino } = await this.#handle.stat();
    this.#identity = `${dev}:${ino}`;
  }

  #drop(count, reason) {
    this.#dropped += count;
    if (Date.now() - this.#complainedAt < COMPLAIN_EVERY_MS) return;
    this.#complainedAt = Date.now();
    process.stderr.write(`log: ${this.#path}: ${this.#dropped} lines were not written: ${reason}\n`);
  }
}
