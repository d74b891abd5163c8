import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { openLogs } from '../src/log.js';
import { ReopeningFile } from '../src/reopening-file.js';
import { eventually } from './support/processes.js';

let folder;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'backend-log-'));
});
after(() => rm(folder, { recursive: true, force: true }));

test('a file that logrotate moved away is opened anew, and no line is lost', async () => {
  const path = join(folder, 'rotated.log');
  const file = new ReopeningFile(path);
  let written = 0;
  const write = () => new Promise((resolve) => file.write(`${(written += 1)}\n`, resolve));
  await write();
  await rename(path, `${path}.1`);
  await eventually('a new file', async () => {
    await write();
    return stat(path).then(() => true, () => false);
  });
  file.end();
  await once(file, 'finish');
  file.write('after the end\n');
  const lines = (await readFile(`${path}.1`, 'utf8')) + (await readFile(path, 'utf8'));
  assert.equal(lines, Array.from({ length: written }, (_, index) => `${index + 1}\n`).join(''));
  assert.equal((await stat(path)).mode & 0o777, 0o640 & ~process.umask());
});

test('a line that cannot be written does not raise an error', async () => {
  const file = new ReopeningFile('/dev/full');
  await new Promise((resolve) => file.write('lost\n', resolve));
  file.end();
  await once(file, 'finish');
  assert.equal(file.errored, null);
});

test('values of keys that sound like secrets are hidden at any depth, and stacks are kept', async () => {
  const config = { APP_NAME: 'bitesbay', LOG_DIR: folder, LOG_LEVEL: 'info' };
  const { logger, close } = openLogs(config, { release: 'r1', worker: 3 });
  logger.info('checkout', { password: 'hidden-1', inner: { razorpay_signature: 'hidden-2', list: [{ otp: 'hidden-3' }] } });
  logger.error(new Error('broken'));
  await new Promise((resolve) => setImmediate(resolve));
  await close();
  const text = await readFile(join(folder, 'app.log'), 'utf8');
  assert.doesNotMatch(text, /hidden-/);
  const [line, error] = text.trim().split('\n').map(JSON.parse);
  assert.equal(line.message, 'checkout');
  assert.equal(line.app, 'bitesbay');
  assert.equal(line.release, 'r1');
  assert.equal(line.worker, 3);
  assert.equal(line.inner.list[0].otp, '[hidden]');
  assert.match(error.stack, /broken/);
});
