import mongoose from 'mongoose';

import { OPTIONS } from './options.js';

const schema = new mongoose.Schema(
  {
    order: { type: mongoose.Schema.Types.ObjectId, required: true },
    user: { type: mongoose.Schema.Types.ObjectId, required: true },
    razorpayOrderId: { type: String, required: true },
    razorpayPaymentId: { type: String, default: null },
    amount: { type: Number, required: true, min: 1, validate: Number.isInteger }, // paise
    currency: { type: String, default: 'INR' },
    status: { type: String, enum: ['created', 'captured', 'failed'], default: 'created' },
    // The money came after the order had been cancelled: a person has to send it back.
    refundDue: { type: Boolean, default: false },
    capturedAt: { type: Date, default: null },
  },
  { ...OPTIONS, collection: 'payments' },
);
// One payment an order: the second of two simultaneous requests finds the first one's.
schema.index({ order: 1 }, { unique: true });
schema.index({ razorpayOrderId: 1 }, { unique: true });
schema.index({ status: 1, createdAt: 1 });

/** What a client needs to open Razorpay's checkout; `keyId` is the public half of the key. */
export function paymentView(payment, keyId) {
  return {
    id: String(payment._id),
    order_id: String(payment.order),
    razorpay_order_id: payment.razorpayOrderId,
    razorpay_key_id: keyId,
    amount: payment.amount,
    currency: payment.currency,
    status: payment.status,
  };
}

export const Payment = mongoose.model('Payment', schema);
