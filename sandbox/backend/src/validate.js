/** Checking of what clients send. */
import { z } from 'zod';

import { HttpError } from './errors.js';

/** An ObjectId as text. */
export const id = z.string().regex(/^[0-9a-f]{24}$/, 'must be an id of 24 hexadecimal digits');

/** A mail address, compared without case. */
export const email = z
  .email('must be a mail address')
  .max(254)
  .transform((text) => text.toLowerCase());

/**
 * @template {z.ZodType} S
 * @param {S} schema
 * @param {unknown} input
 * @returns {z.infer<S>}
 * @throws {HttpError} 400 that names the first wrong member, without its value
 */
export function check(schema, input) {
  if (input === undefined) throw new HttpError(400, 'invalid_input', 'the body must be JSON with Content-Type application/json');
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue.path.join('.');
  const what = issue.message.replace(/^Invalid input: /, '');
  throw new HttpError(400, 'invalid_input', where ? `${where}: ${what}` : what);
}
