import mongoose from 'mongoose';

import { OPTIONS } from './options.js';

const schema = new mongoose.Schema(
  {
    name: { type: String, required: true },
    email: { type: String, required: true },
    passwordHash: { type: String, required: true },
    role: { type: String, enum: ['customer', 'staff'], default: 'customer' },
    active: { type: Boolean, default: true },
    verifiedAt: { type: Date, default: null },
    lastLoginAt: { type: Date, default: null },
  },
  { ...OPTIONS, collection: 'users' },
);
schema.index({ email: 1 }, { unique: true });

/** What a client may see of a user. */
export function userView(user) {
  return {
    id: String(user._id),
    name: user.name,
    email: user.email,
    role: user.role,
    verified: user.verifiedAt !== null,
  };
}

export const User = mongoose.model('User', schema);
