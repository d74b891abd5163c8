import mongoose from 'mongoose';

import { OPTIONS } from './options.js';

const schema = new mongoose.Schema(
  {
    sku: { type: String, required: true },
    name: { type: String, required: true },
    price: { type: Number, required: true, min: 1, validate: Number.isInteger }, // paise
    available: { type: Boolean, default: true },
  },
  { ...OPTIONS, collection: 'menuitems' },
);
schema.index({ sku: 1 }, { unique: true });

export const MenuItem = mongoose.model('MenuItem', schema);
