/** Payments through Razorpay: open one, confirm it by checkout's signature, hear of it by webhook. */
import express, { Router } from 'express';
import { z } from 'zod';

import { HttpError, isDuplicateKey } from '../errors.js';
import { BODY_LIMIT } from '../limits.js';
import { Order, orderView } from '../models/order.js';
import { Payment, paymentView } from '../models/payment.js';
import { WebhookEvent } from '../models/webhook-event.js';
import { capture } from '../services/capture.js';
import { check, id } from '../validate.js';

const razorpayId = (prefix) => z.string().regex(new RegExp(`^${prefix}_[A-Za-z0-9]{1,40}$`), `must be ${prefix}_...`);
const signature = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits');

const Opening = z.strictObject({ order_id: id });
const Confirmation = z.strictObject({
  razorpay_order_id: razorpayId('order'),
  razorpay_payment_id: razorpayId('pay'),
  razorpay_signature: signature,
});
const EventId = z.string().regex(/^[\x21-\x7e]{1,100}$/);
// Razorpay may add members at any time, so these are not strict.
const Event = z.object({ event: z.string().max(80) });
const PaymentEvent = z.object({
  payload: z.object({
    payment: z.object({
      entity: z.object({
        id: razorpayId('pay'),
        order_id: razorpayId('order').nullable(),
        amount: z.int(),
        currency: z.string(),
      }),
    }),
  }),
});

const CAPTURED = new Set(['payment.captured', 'order.paid']);

export function paymentRoutes({ authenticate, razorpay, logger }) {
  const router = Router();

  router.post('/', authenticate, async (req, res) => {
    const input = check(Opening, req.body);
    const order = await Order.findOne({ _id: input.order_id, user: req.user.id });
    if (!order) throw new HttpError(404, 'order_not_found', 'there is no such order');
    const earlier = await Payment.findOne({ order: order._id });
    if (earlier) return res.json({ payment: paymentView(earlier, razorpay.keyId) });
    if (order.status !== 'created') throw new HttpError(409, 'wrong_status', `the order is ${order.status}`);

    const remote = await razorpay.createOrder({
      amount: order.total,
      currency: order.currency,
      receipt: String(order._id),
    });
    const wanted = {
      order: order._id,
      user: order.user,
      razorpayOrderId: remote.id,
      amount: order.total,
      currency: order.currency,
    };
    const payment = await Payment.create(wanted).catch((error) => {
      if (!isDuplicateKey(error)) throw error;
      return Payment.findOne({ order: order._id }); // the same request won the race
    });
    logger.info('payment opened', { order_id: String(order._id), razorpay_order_id: payment.razorpayOrderId });
    return res.status(201).json({ payment: paymentView(payment, razorpay.keyId) });
  });

  router.post('/verify', authenticate, async (req, res) => {
    const input = check(Confirmation, req.body);
    const payment = await Payment.findOne({ razorpayOrderId: input.razorpay_order_id, user: req.user.id });
    if (!payment) throw new HttpError(404, 'payment_not_found', 'there is no such payment');
    const { razorpay_order_id: orderId, razorpay_payment_id: paymentId } = input;
    if (!razorpay.checkoutSignatureMatches(orderId, paymentId, input.razorpay_signature)) {
      logger.warn('checkout with a wrong signature', { razorpay_order_id: orderId, request_id: req.id });
      throw new HttpError(400, 'signature_wrong', 'the signature does not belong to this payment');
    }
    const outcome = await capture({ razorpayOrderId: orderId, razorpayPaymentId: paymentId }, logger);
    const order = await Order.findById(payment.order);
    res.json({ outcome, order: orderView(order) });
  });

  /** @returns {Promise<{outcome: string, razorpayOrderId: string | null}>} */
  async function handle(event, content) {
    if (!CAPTURED.has(event) && event !== 'payment.failed') return { outcome: 'ignored', razorpayOrderId: null };
    const { entity } = check(PaymentEvent, content).payload.payment;
    const razorpayOrderId = entity.order_id;
    if (razorpayOrderId === null) return { outcome: 'unknown_order', razorpayOrderId };
    const payment = await Payment.findOne({ razorpayOrderId });
    if (!payment) return { outcome: 'unknown_order', razorpayOrderId };
    if (event === 'payment.failed') {
      // A customer may try again on the same order, so a failure never undoes a capture.
      await Payment.updateOne({ razorpayOrderId, status: 'created' }, { $set: { status: 'failed' } });
      return { outcome: 'failed', razorpayOrderId };
    }
    if (entity.amount !== payment.amount || entity.currency !== payment.currency) {
      return { outcome: 'amount_mismatch', razorpayOrderId };
    }
    return { outcome: await capture({ razorpayOrderId, razorpayPaymentId: entity.id }, logger), razorpayOrderId };
  }

  // The signature is over the bytes as they came, so this route must not see parsed JSON.
  router.post('/webhook', express.raw({ type: '*/*', limit: BODY_LIMIT }), async (req, res) => {
    const given = req.get('X-Razorpay-Signature') ?? '';
    const raw = Buffer.isBuffer(req.body) ? req.body : Buffer.alloc(0);
    if (!signature.safeParse(given).success || !razorpay.webhookSignatureMatches(raw, given)) {
      logger.warn('webhook with a wrong signature', { request_id: req.id, remote: req.ip });
      throw new HttpError(400, 'signature_wrong', 'the signature does not belong to this body');
    }
    const eventId = check(EventId, req.get('X-Razorpay-Event-Id') ?? '');
    let content;
    try {
      content = JSON.parse(raw.toString('utf8'));
    } catch {
      throw new HttpError(400, 'invalid_json', 'the body is not JSON');
    }
    const { event } = check(Event, content);
    const seen = await WebhookEvent.findOne({ eventId });
    if (seen) return res.json({ status: 'duplicate', outcome: seen.outcome });

    // The work first, the note of it second: after a crash in between Razorpay sends it again, and the work is
    // harmless the second time. The other way round a payment could be lost.
    const { outcome, razorpayOrderId } = await handle(event, content);
    await WebhookEvent.create({ eventId, event, razorpayOrderId, outcome }).catch((error) => {
      if (!isDuplicateKey(error)) throw error;
    });
    const level = outcome === 'unknown_order' || outcome === 'amount_mismatch' ? 'error' : 'info';
    logger.log(level, 'webhook handled', { event, event_id: eventId, razorpay_order_id: razorpayOrderId, outcome });
    return res.json({ status: 'ok', outcome });
  });

  return router;
}
