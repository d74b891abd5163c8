/** The application as a process of its own, with everything it needs around it. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { startMongo, startRedis } from './dependencies.js';
import { end, eventually, freePort, start } from './processes.js';
import { KEYS, startRazorpay } from './razorpay.js';
import { SMTP_LOGIN, startSmtp } from './smtp.js';

export const SERVER = fileURLToPath(new URL('../../src/server.js', import.meta.url));
export const STAFF = 'cook@example.test';

/** Folder, MongoDB, Redis, mail server and Razorpay; `stop` ends them all and removes the folder. */
export async function startWorld() {
  const folder = await mkdtemp(join(tmpdir(), 'backend-test-'));
  const started = [];
  const stop = async () => {
    for (const server of started.reverse()) await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
  const begin = async (promise) => {
    const server = await promise;
    started.push(server);
    return server;
  };
  try {
    const mongo = await begin(startMongo(folder));
    const redis = await begin(startRedis(folder));
    const smtp = await begin(startSmtp());
    const razorpay = await begin(startRazorpay());
    return { folder, mongo, redis, smtp, razorpay, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A complete environment of the application. */
export function environmentOf(world, overrides = {}) {
  return {
    NODE_ENV: 'test',
    APP_NAME: 'bitesbay',
    APP_TITLE: 'BitesBay',
    MONGODB_URI: world.mongo.uri,
    REDIS_URL: world.redis.url,
    JWT_SECRET: 'a-secret-of-thirty-two-characters',
    RAZORPAY_KEY_ID: KEYS.id,
    RAZORPAY_KEY_SECRET: KEYS.secret,
    RAZORPAY_WEBHOOK_SECRET: KEYS.webhook,
    RAZORPAY_BASE_URL: world.razorpay.url,
    SMTP_HOST: '127.0.0.1',
    SMTP_PORT: String(world.smtp.port),
    SMTP_USERNAME: SMTP_LOGIN.user,
    SMTP_PASSWORD: SMTP_LOGIN.password,
    SMTP_TLS: 'none',
    MAIL_FROM: 'BitesBay <no-reply@bitesbay.test>',
    STAFF_EMAILS: STAFF,
    RELEASE_ID: 'test-release',
    START_TIMEOUT_MS: '40000', // a machine that runs other tests beside these is slow
    ...overrides,
  };
}

/** Start the application through an ENV_FILE, as PM2 does, and wait for its message. */
export async function startBackend(world, overrides = {}) {
  const port = await freePort();
  const name = `backend-${port}`;
  const logs = join(world.folder, name);
  await mkdir(logs);
  const envFile = join(world.folder, `${name}.env`);
  const variables = environmentOf(world, { PORT: String(port), LOG_DIR: logs, ...overrides });
  await writeFile(envFile, Object.entries(variables).map(([key, value]) => `${key}=${value}\n`).join(''), { mode: 0o600 });
  const child = start(process.execPath, [SERVER], {
    env: { PATH: process.env.PATH, ENV_FILE: envFile },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const messages = [];
  child.on('message', (message) => messages.push(message));
  await eventually('message ready', () => {
    if (child.exitCode !== null) throw new Error(`the backend ended with ${child.exitCode}: ${child.output}`);
    return messages.includes('ready');
  }, 60_000);
  const url = `http://127.0.0.1:${port}`;
  const log = async (file = 'app.log') =>
    (await readFile(join(logs, file), 'utf8')).trim().split('\n').filter(Boolean).map(JSON.parse);
  return {
    child,
    url,
    port,
    logs,
    messages,
    stop: (signal) => end(child, signal),
    log,
    /** The newest line of app.log with this message, waited for: lines are written behind the answers. */
    logged: (text) => eventually(`log line ${text}`, async () => (await log()).findLast(({ message }) => message === text)),
    /** @returns {Promise<{status: number, body: any, headers: Headers}>} */
    async call(method, path, { token, body, headers = {} } = {}) {
      const answer = await fetch(`${url}${path}`, {
        method,
        headers: {
          ...(body !== undefined && { 'Content-Type': 'application/json' }),
          ...(token && { Authorization: `Bearer ${token}` }),
          ...headers,
        },
        body: typeof body === 'string' ? body : JSON.stringify(body),
        signal: AbortSignal.timeout(60_000),
      });
      return { status: answer.status, body: await answer.json(), headers: answer.headers };
    },
  };
}

/** The code in the newest mail to this address. */
export function codeFor(world, email) {
  const mail = world.smtp.messages.findLast((message) => message.includes(email.toLowerCase()));
  return /code is (\d{6})/.exec(mail ?? '')?.[1];
}

/** Register and verify a user. @returns {Promise<string>} a token */
export async function newUser(world, backend, email) {
  await backend.call('POST', '/api/users', { body: { name: 'Asha', email, password: 'long enough 1' } });
  const { body } = await backend.call('POST', '/api/users/verify', { body: { email, otp: codeFor(world, email) } });
  return body.token;
}
