import mongoose from 'mongoose';

import { OPTIONS } from './options.js';

/** From which status an order may go where, and who may move it. `payment` is this application itself. */
export const TRANSITIONS = {
  created: { paid: ['payment'], cancelled: ['owner', 'staff'] },
  paid: { preparing: ['staff'] },
  preparing: { ready: ['staff'] },
  ready: { delivered: ['staff'] },
  delivered: {},
  cancelled: {},
};

export const STATUSES = Object.keys(TRANSITIONS);

const paise = { type: Number, required: true, min: 0, validate: Number.isInteger };

const schema = new mongoose.Schema(
  {
    user: { type: mongoose.Schema.Types.ObjectId, required: true },
    // Chosen by the client, so that a repeated request does not make a second order.
    idempotencyKey: { type: String, required: true },
    items: [
      {
        _id: false,
        sku: { type: String, required: true },
        name: { type: String, required: true },
        unitPrice: paise,
        quantity: { type: Number, required: true, min: 1 },
        lineTotal: paise,
      },
    ],
    subtotal: paise,
    tax: paise,
    deliveryFee: paise,
    total: paise,
    currency: { type: String, default: 'INR' },
    status: { type: String, enum: STATUSES, default: 'created' },
    history: [
      {
        _id: false,
        status: { type: String, required: true },
        at: { type: Date, required: true },
        by: { type: String, required: true },
      },
    ],
    paidAt: { type: Date, default: null },
  },
  { ...OPTIONS, collection: 'orders' },
);
schema.index({ user: 1, idempotencyKey: 1 }, { unique: true });
schema.index({ user: 1, createdAt: -1 });
schema.index({ status: 1, createdAt: 1 });

/** What a client may see of an order; amounts in paise. */
export function orderView(order) {
  return {
    id: String(order._id),
    status: order.status,
    items: order.items.map(({ sku, name, unitPrice, quantity, lineTotal }) => ({
      sku,
      name,
      quantity,
      unit_price: unitPrice,
      line_total: lineTotal,
    })),
    subtotal: order.subtotal,
    tax: order.tax,
    delivery_fee: order.deliveryFee,
    total: order.total,
    currency: order.currency,
    created_at: order.createdAt,
    paid_at: order.paidAt,
  };
}

export const Order = mongoose.model('Order', schema);
