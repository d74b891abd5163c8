import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { identify } from '../src/release.js';
import { totalsOf } from '../src/routes/orders.js';
import { STAFF, codeFor, newUser, startBackend, startWorld } from './support/backend.js';
import { eventually } from './support/processes.js';
import { checkout, webhook } from './support/razorpay.js';

let world;
let backend;
before(async () => {
  world = await startWorld();
  backend = await startBackend(world);
});
after(async () => {
  await backend?.stop();
  await world?.stop();
});

const call = (...args) => backend.call(...args);
const ITEMS = [
  { sku: 'samosa', quantity: 3 },
  { sku: 'filter-coffee', quantity: 1 },
];

function refused(answer, status, code) {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  assert.equal(answer.body.error.code, code);
  assert.ok(answer.body.error.message);
  assert.equal(answer.body.error.request_id, answer.headers.get('x-request-id'));
}

async function newOrder(token, items = ITEMS) {
  const { status, body } = await call('POST', '/api/orders', { token, body: { items } });
  assert.equal(status, 201, JSON.stringify(body));
  return body.order;
}

async function newPayment(token, order) {
  const { status, body } = await call('POST', '/api/payments', { token, body: { order_id: order.id } });
  assert.equal(status, 201, JSON.stringify(body));
  return body.payment;
}

const statusOf = async (token, order) => (await call('GET', `/api/orders/${order.id}`, { token })).body.order.status;
const send = ({ body, headers }) => call('POST', '/api/payments/webhook', { body, headers });

test('health says what runs and that both dependencies answer', async () => {
  const { body, headers } = await eventually('health 200', async () => {
    const answer = await call('GET', '/api/health');
    return answer.status === 200 && answer;
  });
  assert.equal(body.status, 'ok');
  assert.equal(body.app, 'bitesbay');
  assert.equal(body.version, '1.0.0');
  assert.equal(body.release, identify('test-release').release);
  assert.equal(body.worker, 0);
  assert.equal(body.draining, false);
  assert.equal(body.pid, backend.child.pid);
  assert.ok(Number.isInteger(body.uptime_seconds));
  for (const name of ['mongodb', 'redis']) {
    assert.equal(body.dependencies[name].status, 'up');
    assert.ok(body.dependencies[name].latency_ms >= 0);
  }
  assert.equal(headers.get('cache-control'), 'no-store');
  assert.equal(headers.get('x-content-type-options'), 'nosniff');
  assert.equal(headers.get('x-powered-by'), null);
});

describe('users', () => {
  test('register, code by mail, verify, log in', async () => {
    const email = 'flow@example.test';
    const registered = await call('POST', '/api/users', { body: { name: 'Asha', email: 'Flow@Example.test', password: 'long enough 1' } });
    assert.equal(registered.status, 201);
    assert.deepEqual({ ...registered.body.user, id: null }, { id: null, name: 'Asha', email, role: 'customer', verified: false });

    const login = { email, password: 'long enough 1' };
    refused(await call('POST', '/api/users/login', { body: login }), 403, 'not_verified');

    const otp = codeFor(world, email);
    const wrong = otp === '000000' ? '000001' : '000000';
    refused(await call('POST', '/api/users/verify', { body: { email, otp: wrong } }), 400, 'otp_wrong');
    const verified = await call('POST', '/api/users/verify', { body: { email, otp } });
    assert.equal(verified.status, 200);
    assert.equal(verified.body.user.verified, true);
    refused(await call('POST', '/api/users/verify', { body: { email, otp } }), 400, 'otp_expired');

    const session = await call('POST', '/api/users/login', { body: login });
    assert.equal(session.status, 200);
    assert.equal(session.body.expires_in, 3600);
    const me = await call('GET', '/api/users/me', { token: session.body.token });
    assert.equal(me.body.user.email, email);
    refused(await call('POST', '/api/users', { body: { name: 'Other', ...login } }), 409, 'email_taken');
    refused(await call('POST', '/api/users/login', { body: { email, password: 'wrong' } }), 401, 'login_failed');
    refused(await call('POST', '/api/users/login', { body: { ...login, email: 'nobody@example.test' } }), 401, 'login_failed');
  });

  test('a code is gone after five wrong tries', async () => {
    const email = 'guesser@example.test';
    await call('POST', '/api/users', { body: { name: 'G', email, password: 'long enough 1' } });
    const otp = codeFor(world, email);
    const wrong = otp === '000000' ? '000001' : '000000';
    const codes = [];
    for (let i = 0; i < 5; i += 1) {
      codes.push((await call('POST', '/api/users/verify', { body: { email, otp: wrong } })).body.error.code);
    }
    assert.deepEqual(codes, ['otp_wrong', 'otp_wrong', 'otp_wrong', 'otp_wrong', 'otp_exhausted']);
    refused(await call('POST', '/api/users/verify', { body: { email, otp } }), 400, 'otp_expired');
  });

  test('the sixth mail to one address is refused with Retry-After', async () => {
    const email = 'flooded@example.test';
    const before = world.smtp.messages.length;
    await call('POST', '/api/users', { body: { name: 'F', email, password: 'long enough 1' } });
    for (let i = 0; i < 4; i += 1) {
      assert.equal((await call('POST', '/api/users/otp', { body: { email } })).status, 202);
    }
    const late = await call('POST', '/api/users/otp', { body: { email } });
    refused(late, 429, 'too_many_requests');
    assert.ok(Number(late.headers.get('retry-after')) > 0);
    assert.equal(world.smtp.messages.length, before + 5);
  });

  test('asking a code for an unknown address looks the same and sends nothing', async () => {
    const before = world.smtp.messages.length;
    const answer = await call('POST', '/api/users/otp', { body: { email: 'unknown@example.test' } });
    assert.equal(answer.status, 202);
    assert.equal(world.smtp.messages.length, before);
  });

  test('a mail server that refuses is an answer 503, and the reason is logged', async (t) => {
    world.smtp.settings.refuse = true;
    t.after(() => {
      world.smtp.settings.refuse = false;
    });
    const answer = await call('POST', '/api/users', { body: { name: 'M', email: 'mailless@example.test', password: 'long enough 1' } });
    refused(answer, 503, 'mail_unavailable');
    const line = await backend.logged('otp mail not sent');
    assert.equal(line.reason, 'EAUTH');
    assert.equal(line.smtp_status, 535);
  });

  test('tokens that are missing, broken or without a signature are refused', async () => {
    refused(await call('GET', '/api/users/me'), 401, 'not_authenticated');
    refused(await call('GET', '/api/users/me', { token: 'a.b.c' }), 401, 'not_authenticated');
    const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const unsigned = `${encode({ alg: 'none' })}.${encode({ sub: '0'.repeat(24), iss: 'bitesbay' })}.`;
    refused(await call('GET', '/api/users/me', { token: unsigned }), 401, 'not_authenticated');
  });
});

describe('input that is not right', () => {
  const user = { name: 'A', email: 'input@example.test', password: 'long enough 1' };
  for (const [what, body, expected] of [
    ['a short password', { ...user, password: 'short' }, /^password: /],
    ['no address', { ...user, email: 'nobody' }, /^email: must be a mail address/],
    ['an operator for a string', { ...user, email: { $gt: '' } }, /^email: /],
    ['a member nobody asked for', { ...user, role: 'staff' }, /role/],
    ['a line break in the name', { ...user, name: 'A\nBcc: x' }, /^name: /],
    ['an array', [], /expected object/],
  ]) {
    test(what, async () => {
      const answer = await call('POST', '/api/users', { body });
      refused(answer, 400, 'invalid_input');
      assert.match(answer.body.error.message, expected);
    });
  }
  test('no JSON at all', async () => {
    refused(await call('POST', '/api/users', { body: '{' }), 400, 'invalid_json');
    refused(await call('POST', '/api/users', {}), 400, 'invalid_input');
  });
  test('a body that is too large', async () => {
    refused(await call('POST', '/api/users', { body: { ...user, name: 'x'.repeat(70_000) } }), 413, 'too_large');
  });
  test('an unknown route', async () => {
    refused(await call('GET', '/api/nothing'), 404, 'not_found');
  });
});

describe('orders', () => {
  let token;
  before(async () => {
    token = await newUser(world, backend, 'orders@example.test');
  });

  test('the total is computed from the menu: items, tax, delivery', async () => {
    const order = await newOrder(token);
    assert.equal(order.subtotal, 3 * 2000 + 3000);
    assert.equal(order.tax, 450);
    assert.equal(order.delivery_fee, 3000);
    assert.equal(order.total, 9000 + 450 + 3000);
    assert.equal(order.status, 'created');
    assert.equal(order.items[0].line_total, 6000);
  });

  test('totals: tax is rounded to whole paise, delivery is free from a limit on', () => {
    assert.deepEqual(totalsOf([{ unitPrice: 333, quantity: 1 }]), { subtotal: 333, tax: 17, deliveryFee: 3000, total: 3350 });
    assert.equal(totalsOf([{ unitPrice: 49_999, quantity: 1 }]).deliveryFee, 3000);
    assert.deepEqual(totalsOf([{ unitPrice: 25_000, quantity: 2 }]), { subtotal: 50_000, tax: 2500, deliveryFee: 0, total: 52_500 });
  });

  test('a price from the client is refused, and so are unknown and repeated items', async () => {
    const post = (items) => call('POST', '/api/orders', { token, body: { items } });
    refused(await post([{ sku: 'samosa', quantity: 1, price: 1 }]), 400, 'invalid_input');
    refused(await post([{ sku: 'lobster', quantity: 1 }]), 400, 'not_on_menu');
    refused(await post([ITEMS[0], ITEMS[0]]), 400, 'invalid_input');
    refused(await post([{ sku: 'samosa', quantity: 0 }]), 400, 'invalid_input');
    refused(await post([{ sku: 'samosa', quantity: 1.5 }]), 400, 'invalid_input');
    refused(await post([]), 400, 'invalid_input');
  });

  test('a repeated Idempotency-Key gives the same order, also when both come at once', async () => {
    const headers = { 'Idempotency-Key': 'key-0001-abcd' };
    const post = (items) => call('POST', '/api/orders', { token, headers, body: { items } });
    const answers = await Promise.all([post(ITEMS), post(ITEMS), post(ITEMS)]);
    assert.equal(new Set(answers.map(({ body }) => body.order.id)).size, 1);
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 200, 201]);
    refused(await post([ITEMS[0]]), 409, 'idempotency_key_reused');
  });

  test('the list holds one\'s own orders, newest first, in pages', async () => {
    const other = await newUser(world, backend, 'lister@example.test');
    const ids = [];
    for (let i = 0; i < 3; i += 1) ids.unshift((await newOrder(other)).id);
    const first = await call('GET', '/api/orders?limit=2', { token: other });
    assert.deepEqual(first.body.orders.map(({ id }) => id), ids.slice(0, 2));
    const next = await call('GET', `/api/orders?limit=2&before=${first.body.orders[1].created_at}`, { token: other });
    assert.deepEqual(next.body.orders.map(({ id }) => id), ids.slice(2));
    refused(await call('GET', '/api/orders?limit=1000', { token: other }), 400, 'invalid_input');
    refused(await call('GET', `/api/orders/${ids[0]}`, { token }), 404, 'order_not_found');
  });

  test('the status machine: who may move an order where', async () => {
    const staff = await newUser(world, backend, STAFF);
    const move = (who, order, status) => call('POST', `/api/orders/${order.id}/status`, { token: who, body: { status } });

    const cancelled = await newOrder(token);
    assert.equal((await move(token, cancelled, 'cancelled')).body.order.status, 'cancelled');
    refused(await move(token, cancelled, 'cancelled'), 409, 'wrong_status');

    const order = await newOrder(token);
    refused(await move(token, order, 'paid'), 403, 'not_allowed');
    refused(await move(staff, order, 'paid'), 403, 'not_allowed');
    refused(await move(token, order, 'preparing'), 409, 'wrong_status');
    refused(await move(token, order, 'eaten'), 400, 'invalid_input');
    const payment = await newPayment(token, order);
    await call('POST', '/api/payments/verify', { token, body: checkout(payment.razorpay_order_id) });
    refused(await move(token, order, 'preparing'), 403, 'not_allowed');
    for (const status of ['preparing', 'ready', 'delivered']) {
      assert.equal((await move(staff, order, status)).body.order.status, status);
    }
    refused(await move(staff, order, 'cancelled'), 409, 'wrong_status');
  });
});

describe('payments', () => {
  let token;
  before(async () => {
    token = await newUser(world, backend, 'payer@example.test');
  });

  test('opened once at Razorpay, for the total, with the order as receipt', async () => {
    const order = await newOrder(token);
    const payment = await newPayment(token, order);
    const remote = world.razorpay.orders.find(({ receipt }) => receipt === order.id);
    assert.equal(remote.amount, order.total);
    assert.equal(remote.currency, 'INR');
    assert.equal(payment.razorpay_order_id, remote.id);
    const again = await call('POST', '/api/payments', { token, body: { order_id: order.id } });
    assert.equal(again.status, 200);
    assert.equal(again.body.payment.id, payment.id);
    assert.equal(world.razorpay.orders.filter(({ receipt }) => receipt === order.id).length, 1);
  });

  test('the right signature pays the order; a wrong one does not', async () => {
    const order = await newOrder(token);
    const payment = await newPayment(token, order);
    const good = checkout(payment.razorpay_order_id);
    const bad = { ...good, razorpay_payment_id: `${good.razorpay_payment_id}x` };
    refused(await call('POST', '/api/payments/verify', { token, body: bad }), 400, 'signature_wrong');
    assert.equal(await statusOf(token, order), 'created');
    const paid = await call('POST', '/api/payments/verify', { token, body: good });
    assert.equal(paid.body.outcome, 'paid');
    assert.equal(paid.body.order.status, 'paid');
    assert.ok(paid.body.order.paid_at);
    assert.equal((await call('POST', '/api/payments/verify', { token, body: good })).body.outcome, 'already_paid');
    refused(await call('POST', '/api/payments', { token: await newUser(world, backend, 'thief@example.test'), body: { order_id: order.id } }), 404, 'order_not_found');
  });

  test('a webhook pays once, however often it comes', async () => {
    const order = await newOrder(token);
    const payment = await newPayment(token, order);
    const event = webhook('payment.captured', { order_id: payment.razorpay_order_id, amount: order.total });
    assert.deepEqual((await send(event)).body, { status: 'ok', outcome: 'paid' });
    assert.equal(await statusOf(token, order), 'paid');
    assert.deepEqual((await send(event)).body, { status: 'duplicate', outcome: 'paid' });
    const other = webhook('order.paid', { order_id: payment.razorpay_order_id, amount: order.total });
    assert.deepEqual((await send(other)).body, { status: 'ok', outcome: 'already_paid' });
  });

  test('a webhook with a wrong signature, a changed body or none changes nothing', async () => {
    const order = await newOrder(token);
    const payment = await newPayment(token, order);
    const about = { order_id: payment.razorpay_order_id, amount: order.total };
    refused(await send(webhook('payment.captured', about, { secret: 'another' })), 400, 'signature_wrong');
    const good = webhook('payment.captured', about);
    refused(await send({ ...good, body: `${good.body} ` }), 400, 'signature_wrong');
    refused(await send({ ...good, headers: { 'Content-Type': 'application/json' } }), 400, 'signature_wrong');
    assert.equal(await statusOf(token, order), 'created');
  });

  test('a webhook with another amount or an unknown order is noted and changes nothing', async () => {
    const order = await newOrder(token);
    const payment = await newPayment(token, order);
    const cheap = webhook('payment.captured', { order_id: payment.razorpay_order_id, amount: 100 });
    assert.equal((await send(cheap)).body.outcome, 'amount_mismatch');
    assert.equal(await statusOf(token, order), 'created');
    assert.equal((await send(webhook('payment.captured', { order_id: 'order_nowhere', amount: 1 }))).body.outcome, 'unknown_order');
    assert.equal((await send(webhook('refund.created', {}))).body.outcome, 'ignored');
  });

  test('a failed payment can succeed later; money for a cancelled order is marked for refund', async () => {
    const order = await newOrder(token);
    const payment = await newPayment(token, order);
    const about = { order_id: payment.razorpay_order_id, amount: order.total };
    assert.equal((await send(webhook('payment.failed', about))).body.outcome, 'failed');
    assert.equal((await send(webhook('payment.captured', about))).body.outcome, 'paid');

    const cancelled = await newOrder(token);
    const late = await newPayment(token, cancelled);
    await call('POST', `/api/orders/${cancelled.id}/status`, { token, body: { status: 'cancelled' } });
    const outcome = await call('POST', '/api/payments/verify', { token, body: checkout(late.razorpay_order_id) });
    assert.equal(outcome.body.outcome, 'refund_due');
    assert.equal(outcome.body.order.status, 'cancelled');
  });

  test('a provider that fails is an answer 502, and the order can be paid afterwards', async (t) => {
    const order = await newOrder(token);
    world.razorpay.settings.fail = 500;
    t.after(() => {
      world.razorpay.settings.fail = null;
    });
    refused(await call('POST', '/api/payments', { token, body: { order_id: order.id } }), 502, 'payment_provider_failed');
    const line = await backend.logged('razorpay call failed');
    assert.equal(line.razorpay_status, 500);
    world.razorpay.settings.fail = null;
    await newPayment(token, order);
  });
});

test('no log holds a password, a code, a token or a signature', async () => {
  const email = 'secretive@example.test';
  const token = await newUser(world, backend, email);
  const otp = codeFor(world, email);
  const order = await newOrder(token);
  const confirmation = checkout((await newPayment(token, order)).razorpay_order_id);
  await call('POST', `/api/payments/verify?token=${token}`, { token, body: confirmation });
  await eventually('the access log line', async () =>
    (await backend.log('access.log')).some(({ path }) => path === '/api/payments/verify'),
  );
  const text = JSON.stringify([await backend.log(), await backend.log('access.log')]) + backend.child.output;
  for (const secret of ['long enough 1', `"${otp}"`, token, confirmation.razorpay_signature, 'rzp-secret', 'redis-password', 'p%40ss', email]) {
    assert.ok(!text.includes(secret), `found ${secret}`);
  }
});
