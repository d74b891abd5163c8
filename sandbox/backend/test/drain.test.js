import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { test } from 'node:test';

import { Drain } from '../src/drain.js';

/** One GET on a connection of `agent`. */
function get(agent, port) {
  return new Promise((resolve, reject) => {
    const req = http.get({ agent, port, host: '127.0.0.1' }, (res) => {
      res.resume().on('end', () => resolve({ connection: res.headers.connection, reused: req.reusedSocket }));
    });
    req.on('error', reject);
  });
}

async function start(t, handler) {
  const server = http.createServer();
  const drain = new Drain(server);
  server.on('request', handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => {
    agent.destroy();
    server.closeAllConnections();
    server.close();
  });
  return { drain, agent, port: server.address().port };
}

const HOURS = 3_600_000;

test('a request on a connection that was idle at the stop is answered, and ends the connection', async (t) => {
  const { drain, agent, port } = await start(t, (_req, res) => res.end('ok'));
  assert.deepEqual(await get(agent, port), { connection: 'keep-alive', reused: false });
  const stopped = drain.stop({ idleGraceMs: HOURS, timeoutMs: HOURS });
  assert.equal(drain.draining, true);
  assert.deepEqual(await get(agent, port), { connection: 'close', reused: true });
  assert.equal(await stopped, 0);
  await assert.rejects(get(new http.Agent(), port), { code: 'ECONNREFUSED' });
});

test('connections that stay idle are closed after the grace', async (t) => {
  const { drain, agent, port } = await start(t, (_req, res) => res.end('ok'));
  await get(agent, port);
  assert.equal(await drain.stop({ idleGraceMs: 1, timeoutMs: HOURS }), 0);
});

test('the connection of a request whose headers had gone out before is closed when it ends', async (t) => {
  let answer;
  const begun = new Promise((resolve) => {
    answer = resolve;
  });
  const { drain, agent, port } = await start(t, (_req, res) => {
    res.write('first');
    answer(res);
  });
  const open = get(agent, port);
  const res = await begun;
  const stopped = drain.stop({ idleGraceMs: 1, timeoutMs: HOURS });
  res.end('last');
  assert.equal((await open).connection, 'keep-alive');
  assert.equal(await stopped, 0);
});

test('what lasts longer than the limit is cut and counted', async (t) => {
  let arrive;
  const arrived = new Promise((resolve) => {
    arrive = resolve;
  });
  const { drain, agent, port } = await start(t, () => arrive());
  const open = assert.rejects(get(agent, port), { code: 'ECONNRESET' });
  await arrived;
  assert.equal(await drain.stop({ idleGraceMs: 1, timeoutMs: 20 }), 1);
  await open;
});
