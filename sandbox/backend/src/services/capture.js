/** What happens when money arrived: told by the customer's checkout, by a webhook, or by both in any order. */
import { Order } from '../models/order.js';
import { Payment } from '../models/payment.js';

/**
 * Mark a payment as captured and its order as paid. There are no transactions here: every step asks for the
 * state it changes, so doing it twice, or again after a crash between the steps, ends in the same state.
 *
 * @param {{razorpayOrderId: string, razorpayPaymentId: string}} ids
 * @param {import('winston').Logger} logger
 * @returns {Promise<'paid' | 'already_paid' | 'refund_due' | 'unknown_order'>}
 */
export async function capture({ razorpayOrderId, razorpayPaymentId }, logger) {
  const now = new Date();
  const payment =
    (await Payment.findOneAndUpdate(
      { razorpayOrderId, status: { $ne: 'captured' } },
      { $set: { status: 'captured', razorpayPaymentId, capturedAt: now } },
      { new: true },
    )) ?? (await Payment.findOne({ razorpayOrderId }));
  if (!payment) return 'unknown_order';
  const about = { order_id: String(payment.order), razorpay_order_id: razorpayOrderId };

  const paid = await Order.findOneAndUpdate(
    { _id: payment.order, status: 'created' },
    { $set: { status: 'paid', paidAt: now }, $push: { history: { status: 'paid', at: now, by: 'payment' } } },
    { new: true },
  );
  if (paid) {
    logger.info('order paid', { ...about, total: paid.total });
    return 'paid';
  }
  const order = await Order.findById(payment.order);
  if (order?.status !== 'cancelled') return 'already_paid';
  await Payment.updateOne({ _id: payment._id }, { $set: { refundDue: true } });
  logger.warn('payment for a cancelled order, refund due', about);
  return 'refund_due';
}
