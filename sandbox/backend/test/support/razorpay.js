/** Razorpay for the tests: orders with the real ones' members, and signatures. */
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

export const KEYS = { id: 'rzp_test_key', secret: 'rzp-secret', webhook: 'rzp-webhook-secret' };

const hmac = (secret, text) => createHmac('sha256', secret).update(text).digest('hex');
const newId = (prefix) => `${prefix}_${randomBytes(7).toString('hex')}`;

/** What checkout hands to the browser after a payment. */
export function checkout(razorpayOrderId) {
  const paymentId = newId('pay');
  return {
    razorpay_order_id: razorpayOrderId,
    razorpay_payment_id: paymentId,
    razorpay_signature: hmac(KEYS.secret, `${razorpayOrderId}|${paymentId}`),
  };
}

/** Body and headers of a webhook, signed with `secret`. */
export function webhook(event, payment, { secret = KEYS.webhook, eventId = newId('evt') } = {}) {
  const entity = { id: newId('pay'), entity: 'payment', currency: 'INR', status: 'captured', ...payment };
  const body = JSON.stringify({ entity: 'event', event, contains: ['payment'], payload: { payment: { entity } } });
  const headers = {
    'Content-Type': 'application/json',
    'X-Razorpay-Signature': hmac(secret, body),
    'X-Razorpay-Event-Id': eventId,
  };
  return { body, headers };
}

/**
 * @returns {Promise<{url: string, orders: object[], settings: {hold: Promise<void> | null, fail: number | null}, stop: () => Promise<void>}>}
 *   `hold` delays answers until it is settled; `fail` is a status to answer with
 */
export async function startRazorpay() {
  const orders = [];
  const settings = { hold: null, fail: null };
  const server = createServer(async (req, res) => {
    const answer = (status, content) => {
      res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(content));
    };
    let text = '';
    for await (const chunk of req) text += chunk;
    const login = `Basic ${Buffer.from(`${KEYS.id}:${KEYS.secret}`).toString('base64')}`;
    const refuse = (description) => ({ error: { code: 'BAD_REQUEST_ERROR', description } });
    if (req.headers.authorization !== login) return answer(401, refuse('Authentication failed'));
    if (req.method !== 'POST' || req.url !== '/v1/orders') return answer(400, refuse('The requested URL was not found on the server.'));
    const { amount, currency, receipt } = JSON.parse(text);
    const order = { id: newId('order'), entity: 'order', amount, currency, receipt, status: 'created' };
    orders.push(order);
    await settings.hold;
    if (settings.fail) return answer(settings.fail, { error: { code: 'SERVER_ERROR', description: 'broken' } });
    return answer(200, order);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    orders,
    settings,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
