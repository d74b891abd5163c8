/** MongoDB and Redis for the tests: real servers, each on a free port with its own data folder. */
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

import { end, freePort, listening, start } from './processes.js';

export const LOGIN = { user: 'backend', password: 'p@ss/word' };
export const REDIS_PASSWORD = 'redis-password';

function onPath(name) {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find(existsSync);
}

/** The sandbox's MongoDB server: STEWARD_MONGOD, or on PATH, or in its cache. */
function mongodBinary() {
  const candidates = [
    process.env.STEWARD_MONGOD,
    onPath('steward-mongod'),
    join(homedir(), '.cache/steward/bin/steward-mongod'),
  ];
  const found = candidates.find((path) => path && existsSync(path));
  if (!found) throw new Error('steward-mongod is not built: run sandbox/bootstrap, or name one by STEWARD_MONGOD');
  return found;
}

/**
 * A server that can be stopped and started again on the same port with the same data.
 *
 * @param {string} name
 * @param {number} port
 * @param {() => import('node:child_process').ChildProcess} spawn
 */
async function server(name, port, spawn) {
  let child;
  const handle = {
    port,
    async start() {
      child = spawn();
      await listening(child, port, name);
    },
    stop: (signal) => end(child, signal),
  };
  await handle.start();
  return handle;
}

/** @param {string} folder for its data */
export async function startMongo(folder) {
  const binary = mongodBinary();
  const port = await freePort();
  const data = join(folder, 'mongo');
  const users = join(folder, 'mongo-users.json');
  await mkdir(data);
  await writeFile(users, JSON.stringify({ [LOGIN.user]: LOGIN.password }), { mode: 0o600 });
  const args = ['--bind', '127.0.0.1', '--port', String(port), '--data', data, '--users', users, '--oplog-size-mb', '16'];
  const handle = await server('steward-mongod', port, () => start(binary, args));
  const login = `${encodeURIComponent(LOGIN.user)}:${encodeURIComponent(LOGIN.password)}`;
  const options = 'authSource=admin&authMechanism=SCRAM-SHA-256&directConnection=true';
  return { ...handle, uri: `mongodb://${login}@127.0.0.1:${port}/backend?${options}` };
}

/** @param {string} folder for its data */
export async function startRedis(folder) {
  if (!onPath('redis-server')) throw new Error('redis-server is not on PATH: run sandbox/bootstrap, or install Redis');
  const port = await freePort();
  const config = join(folder, 'redis.conf');
  const lines = ['bind 127.0.0.1', `port ${port}`, `dir ${folder}`, 'save ""', `requirepass ${REDIS_PASSWORD}`];
  await writeFile(config, `${lines.join('\n')}\n`, { mode: 0o600 });
  const handle = await server('redis-server', port, () => start('redis-server', [config]));
  return { ...handle, url: `redis://:${REDIS_PASSWORD}@127.0.0.1:${port}/0` };
}
