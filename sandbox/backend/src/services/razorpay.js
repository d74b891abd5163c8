/**
 * The part of Razorpay's API that this application uses.
 *
 * Orders: https://razorpay.com/docs/api/orders/create/ ; signatures of checkout and webhooks:
 * https://razorpay.com/docs/payments/server-integration/nodejs/integration-steps/ and
 * https://razorpay.com/docs/webhooks/validate-test/
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

import { HttpError } from '../errors.js';

const TIMEOUT_MS = 5000;

function hmacMatches(secret, data, signature) {
  const expected = createHmac('sha256', secret).update(data).digest();
  const given = Buffer.from(signature, 'hex');
  return given.length === expected.length && timingSafeEqual(given, expected);
}

/**
 * @param {object} config see config.js
 * @param {import('winston').Logger} logger
 */
export function createRazorpay(config, logger) {
  const login = Buffer.from(`${config.RAZORPAY_KEY_ID}:${config.RAZORPAY_KEY_SECRET}`).toString('base64');
  const webhookSecrets = [config.RAZORPAY_WEBHOOK_SECRET, config.RAZORPAY_WEBHOOK_SECRET_PREVIOUS].filter(Boolean);

  async function call(method, path, body) {
    let status;
    let reason;
    try {
      const answer = await fetch(`${config.RAZORPAY_BASE_URL}${path}`, {
        method,
        headers: { Authorization: `Basic ${login}`, 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      status = answer.status;
      const content = await answer.json();
      if (answer.ok) return content;
      reason = `${content?.error?.code}: ${content?.error?.description}`;
    } catch (error) {
      reason = error.cause?.code ?? error.name;
    }
    logger.error('razorpay call failed', { method, path, razorpay_status: status, reason });
    throw new HttpError(502, 'payment_provider_failed', 'the payment provider did not take the request, try again soon');
  }

  return {
    keyId: config.RAZORPAY_KEY_ID,
    /**
     * @param {{amount: number, currency: string, receipt: string}} order amount in paise; receipt up to 40 characters
     * @returns {Promise<{id: string, amount: number, currency: string}>}
     * @throws {HttpError} 502 after a refusal, an unreadable answer or 5 seconds of silence
     */
    async createOrder({ amount, currency, receipt }) {
      const order = await call('POST', '/v1/orders', { amount, currency, receipt });
      if (typeof order?.id !== 'string' || order.amount !== amount) {
        logger.error('razorpay answer not understood', { path: '/v1/orders' });
        throw new HttpError(502, 'payment_provider_failed', 'the payment provider gave an answer that makes no sense');
      }
      return order;
    },
    /** Whether checkout's signature is Razorpay's for this pair. */
    checkoutSignatureMatches(orderId, paymentId, signature) {
      return hmacMatches(config.RAZORPAY_KEY_SECRET, `${orderId}|${paymentId}`, signature);
    },
    /** Whether a webhook's signature is Razorpay's for this raw body. */
    webhookSignatureMatches(rawBody, signature) {
      return webhookSecrets.some((secret) => hmacMatches(secret, rawBody, signature));
    },
  };
}
