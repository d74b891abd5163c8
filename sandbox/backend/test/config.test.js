import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { loadConfig } from '../src/config.js';
import { parseEnvFile } from '../src/env-file.js';
import { ConfigError } from '../src/errors.js';
import { openLogs } from '../src/log.js';
import { SERVER, environmentOf } from './support/backend.js';
import { end, freePort, start } from './support/processes.js';

const NOWHERE = {
  mongo: { uri: 'mongodb://backend:hidden-password@127.0.0.1:1/backend' },
  redis: { url: 'redis://:hidden-password@127.0.0.1:1/0' },
  smtp: { port: 2525 },
  razorpay: { url: 'http://127.0.0.1:1' },
};

let folder;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'backend-config-'));
});
after(() => rm(folder, { recursive: true, force: true }));

const good = (overrides) => environmentOf(NOWHERE, { PORT: '3000', ...overrides });

/** Run the application until it ends by itself. */
async function run(environment) {
  const child = start(process.execPath, [SERVER], { env: { PATH: process.env.PATH, ...environment } });
  try {
    const { code } = await child.ended;
    return { code, lines: child.output.trim().split('\n') };
  } finally {
    await end(child, 'SIGKILL');
  }
}

test('a complete environment is taken, with defaults', () => {
  const config = loadConfig(good());
  assert.equal(config.PORT, 3000);
  assert.equal(config.HOST, '127.0.0.1');
  assert.deepEqual(config.TRUST_PROXY, ['loopback']);
  assert.deepEqual(config.STAFF_EMAILS, ['cook@example.test']);
  assert.equal(config.RAZORPAY_WEBHOOK_SECRET_PREVIOUS, undefined);
});

for (const [name, value, expected] of [
  ['PORT', undefined, /^PORT: is required; /],
  ['PORT', '', /^PORT: is empty; /],
  ['PORT', '70000', /^PORT: .*65535 \(got "70000"\); /],
  ['APP_NAME', 'Bites Bay', /^APP_NAME: must be lower-case .* \(got "Bites Bay"\); /],
  ['RAZORPAY_BASE_URL', 'https://host/v1', /^RAZORPAY_BASE_URL: must be .* without a path/],
  ['SMTP_TLS', 'yes', /^SMTP_TLS: .*"starttls"\|"tls"\|"none".* \(got "yes"\); /],
]) {
  test(`${name}=${value} is one line that names it`, () => {
    assert.throws(() => loadConfig(good({ [name]: value })), (error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, expected);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    });
  });
}

for (const [name, value] of [
  ['MONGODB_URI', 'mongodb://backend:hidden-password@127.0.0.1:1'],
  ['REDIS_URL', '127.0.0.1:1?hidden-password'],
  ['JWT_SECRET', 'hidden-password'],
]) {
  test(`a malformed ${name} is not printed`, () => {
    assert.throws(() => loadConfig(good({ [name]: value })), (error) => {
      assert.match(error.message, new RegExp(`^${name}: must `));
      assert.doesNotMatch(error.message, /hidden/);
      return true;
    });
  });
}

test('several problems are counted and named', () => {
  assert.throws(
    () => loadConfig(good({ PORT: undefined, JWT_SECRET: 'short' })),
    { message: /^PORT: is required \(and 1 more: JWT_SECRET\); / },
  );
});

test('an environment file: comments, quotes, export, no expansion', () => {
  const text = '# comment\n\nA=1\nexport B = two words \nC="a # b"\nD=\'$A\'\nE=a=b\r\nF=\n';
  assert.deepEqual(parseEnvFile(text, 'env'), { A: '1', B: 'two words', C: 'a # b', D: '$A', E: 'a=b', F: '' });
});

for (const [text, expected] of [
  ['A=1\nnonsense-hidden', 'env line 2: must be KEY=VALUE'],
  ['A=1\nA=2', 'env line 2: A is written twice'],
  ['A="hidden', 'env line 1: A lacks its closing quote'],
]) {
  test(`an environment file is refused: ${expected}`, () => {
    assert.throws(() => parseEnvFile(text, 'env'), { message: expected });
  });
}

test('what the process already has wins over the file', async () => {
  const file = join(folder, 'precedence.env');
  await writeFile(file, 'PORT=4000\nAPP_TITLE=From the file\n');
  const config = loadConfig({ ...good({ APP_TITLE: undefined, PORT: '5000' }), ENV_FILE: file, APP_TITLE: 'Given' });
  assert.equal(config.PORT, 5000);
  assert.equal(config.APP_TITLE, 'Given');
});

test('a bad configuration ends the process: status 1, one line', async () => {
  const file = join(folder, 'bad.env');
  const variables = good({ PORT: 'http' });
  await writeFile(file, Object.entries(variables).map(([key, value]) => `${key}=${value}\n`).join(''));
  const { code, lines } = await run({ ENV_FILE: file });
  assert.equal(code, 1);
  assert.equal(lines.length, 1, lines.join('\n'));
  assert.match(lines[0], /^sample-backend: configuration: PORT: .*\(got "http"\); set it in .*bad\.env$/);
});

test('an ENV_FILE that is not there is one line', () => {
  const file = join(folder, 'none.env');
  assert.throws(() => loadConfig({ ENV_FILE: file }), { message: `ENV_FILE: ${file} cannot be read (ENOENT)` });
});

test('a LOG_DIR that is not there is one line', () => {
  const config = loadConfig(good({ LOG_DIR: join(folder, 'logs') }));
  assert.throws(() => openLogs(config, { release: 'r', worker: 0 }), (error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /^LOG_DIR: .*logs cannot be written \(ENOENT\); create it for this user$/);
    return true;
  });
});

test('unreachable dependencies end the start within its time: status 1, no password in the output', async () => {
  const free = await freePort();
  const environment = good({ PORT: String(free), START_TIMEOUT_MS: '600', LOG_DIR: folder });
  const { code, lines } = await run(environment);
  assert.equal(code, 1);
  assert.equal(lines.length, 1, lines.join('\n'));
  assert.match(lines[0], /^sample-backend: start: (MongoDB|Redis) at 127\.0\.0\.1:1: no answer within 600 ms/);
  assert.doesNotMatch(lines[0], /hidden/);
});
