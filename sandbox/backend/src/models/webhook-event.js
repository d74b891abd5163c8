import mongoose from 'mongoose';

import { OPTIONS } from './options.js';

const schema = new mongoose.Schema(
  {
    eventId: { type: String, required: true }, // header X-Razorpay-Event-Id
    event: { type: String, required: true },
    razorpayOrderId: { type: String, default: null },
    outcome: { type: String, required: true },
  },
  { ...OPTIONS, collection: 'webhookevents' },
);
schema.index({ eventId: 1 }, { unique: true });

export const WebhookEvent = mongoose.model('WebhookEvent', schema);
