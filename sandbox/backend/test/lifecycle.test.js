import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';

import { newUser, startBackend, startWorld } from './support/backend.js';
import { eventually } from './support/processes.js';

let world;
before(async () => {
  world = await startWorld();
});
after(() => world?.stop());

/** One request on a connection of `agent`. */
function request(agent, url, options = {}) {
  return new Promise((resolve, reject) => {
    const req = http.request(url, { agent, ...options }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, body: JSON.parse(text) }));
    });
    req.on('error', reject);
    req.end(options.body);
  });
}

test('two workers that start together on an empty database agree on indexes and menu', async (t) => {
  const uri = world.mongo.uri.replace('/backend?', '/fresh?');
  const both = await Promise.all([0, 1].map(() => startBackend(world, { MONGODB_URI: uri })));
  t.after(() => Promise.all(both.map((backend) => backend.stop())));
  const { body } = await both[0].call('GET', '/api/menu');
  assert.equal(body.items.length, 12);
  const email = { name: 'A', email: 'twice@example.test', password: 'long enough 1' };
  const answers = await Promise.all(both.map((backend) => backend.call('POST', '/api/users', { body: email })));
  const ids = new Set(answers.filter(({ status }) => status === 201).map(({ body: { user } }) => user.id));
  assert.equal(ids.size, 1, JSON.stringify(answers.map((answer) => answer.body)));
});

for (const signal of ['SIGINT', 'SIGTERM']) {
  test(`${signal} lets an open request end, takes no new connection, and ends with 0`, async (t) => {
    const backend = await startBackend(world, { SHUTDOWN_TIMEOUT_MS: '60000' });
    t.after(() => backend.stop('SIGKILL'));
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const idle = new http.Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => [agent, idle].forEach((one) => one.destroy()));
    const token = await newUser(world, backend, `${signal.toLowerCase()}@example.test`);
    const { body } = await backend.call('POST', '/api/orders', { token, body: { items: [{ sku: 'samosa', quantity: 1 }] } });
    assert.ok((await request(idle, `${backend.url}/api/menu`)).body.items.length);
    assert.deepEqual(backend.messages, ['ready']);

    // Razorpay holds its answer, so this request stays open as long as we want.
    let release;
    world.razorpay.settings.hold = new Promise((resolve) => {
      release = resolve;
    });
    t.after(() => {
      world.razorpay.settings.hold = null;
      release();
    });
    const known = world.razorpay.orders.length;
    const open = request(agent, `${backend.url}/api/payments`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
      body: JSON.stringify({ order_id: body.order.id }),
    });
    await eventually('the open request at Razorpay', () => world.razorpay.orders.length > known);

    backend.child.kill(signal);
    await eventually('no new connection', () => fetch(`${backend.url}/api/health`).then(() => false, () => true));
    assert.equal(backend.child.exitCode, null);
    release();
    const answer = await open;
    assert.equal(answer.status, 201);
    assert.equal(answer.headers.connection, 'close');
    assert.deepEqual(await backend.child.ended, { code: 0, signal: null });
    const lines = await backend.log();
    assert.equal(lines.at(-1).message, 'stopped');
    assert.equal(lines.at(-1).requests_cut, 0);
  });
}

test('a request that outlasts the time limit is cut, and that is status 1', async (t) => {
  const backend = await startBackend(world, { SHUTDOWN_TIMEOUT_MS: '700' });
  t.after(() => backend.stop('SIGKILL'));
  const token = await newUser(world, backend, 'cut@example.test');
  const { body } = await backend.call('POST', '/api/orders', { token, body: { items: [{ sku: 'samosa', quantity: 1 }] } });
  let release;
  world.razorpay.settings.hold = new Promise((resolve) => {
    release = resolve;
  });
  t.after(() => {
    world.razorpay.settings.hold = null;
    release();
  });
  const known = world.razorpay.orders.length;
  const open = backend.call('POST', '/api/payments', { token, body: { order_id: body.order.id } });
  const failed = assert.rejects(open);
  await eventually('the open request at Razorpay', () => world.razorpay.orders.length > known);
  backend.child.kill('SIGINT');
  assert.deepEqual(await backend.child.ended, { code: 1, signal: null });
  await failed;
  assert.equal((await backend.log()).at(-1).requests_cut, 1);
});

test('a dependency that is down: health 503 names it, requests get a code, and it recovers', async (t) => {
  const backend = await startBackend(world);
  t.after(() => backend.stop());
  const health = () => backend.call('GET', '/api/health');
  const login = { body: { email: 'x@example.test', password: 'p' } };
  for (const { name, other, server, ask, code } of [
    { name: 'redis', other: 'mongodb', server: world.redis, ask: () => backend.call('POST', '/api/users/login', login), code: 'cache_unavailable' },
    { name: 'mongodb', other: 'redis', server: world.mongo, ask: () => backend.call('GET', '/api/menu'), code: 'database_unavailable' },
  ]) {
    await server.stop('SIGKILL');
    const down = await eventually(`${name} down`, async () => {
      const answer = await health();
      return answer.status === 503 && answer;
    });
    const refused = await ask();
    await server.start();
    assert.equal(down.body.status, 'unavailable');
    assert.equal(down.body.dependencies[name].status, 'down');
    assert.match(down.body.dependencies[name].error, /^(timeout|unreachable)$/);
    assert.equal(down.body.dependencies[other].status, 'up');
    assert.equal(refused.status, 503);
    assert.equal(refused.body.error.code, code);
    await eventually(`${name} up again`, async () => (await health()).status === 200);
  }
});

test('a process that is stopped while its dependencies are away ends in time', async (t) => {
  const backend = await startBackend(world);
  t.after(() => backend.stop('SIGKILL'));
  await world.redis.stop('SIGKILL');
  await world.mongo.stop('SIGKILL');
  const ended = await backend.stop('SIGINT'); // kills in the end, and `signal` would tell
  await world.mongo.start();
  await world.redis.start();
  assert.deepEqual(ended, { code: 0, signal: null });
});

test('wrong credentials are told at the start in one line', async () => {
  await assert.rejects(
    startBackend(world, { MONGODB_URI: world.mongo.uri.replace('backend:', 'stranger:') }),
    /ended with 1: sample-backend: start: MongoDB at 127\.0\.0\.1:\d+: login refused; check user and password in MONGODB_URI\n$/,
  );
  await assert.rejects(
    startBackend(world, { REDIS_URL: world.redis.url.replace('redis-password', 'wrong') }),
    /ended with 1: sample-backend: start: Redis at 127\.0\.0\.1:\d+: login refused; check the password in REDIS_URL\n$/,
  );
});

test('a port that is taken is told at the start in one line', async () => {
  await assert.rejects(
    startBackend(world, { PORT: String(world.razorpay.url.split(':').at(-1)) }),
    /ended with 1: sample-backend: start: cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\); check HOST and PORT\n$/,
  );
});
