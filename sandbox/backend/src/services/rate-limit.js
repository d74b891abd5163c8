/** Limits of use, counted in Redis over all workers and hosts. */
import { createHash } from 'node:crypto';

import { orUnavailable } from '../cache.js';
import { HttpError } from '../errors.js';

// Addresses of people are not kept in the clear as keys.
const key = (limit, subject) => `limit:${limit.name}:${createHash('sha256').update(subject).digest('hex').slice(0, 32)}`;

function tooMany(milliseconds) {
  const seconds = Math.max(1, Math.ceil(milliseconds / 1000));
  const error = new HttpError(429, 'too_many_requests', `too many tries, again in ${seconds} seconds`);
  error.headers['Retry-After'] = String(seconds);
  return error;
}

/** @param {import('ioredis').Redis} redis */
export function createRateLimit(redis) {
  return {
    /**
     * Count one use.
     * @throws {HttpError} 429 with Retry-After when this is one too many
     */
    async use(limit, subject) {
      const [count, left] = await orUnavailable(redis.countUse(key(limit, subject), limit.windowMs));
      if (count > limit.count) throw tooMany(left);
    },
    /**
     * Look without counting.
     * @throws {HttpError} 429 when the limit is reached already
     */
    async require(limit, subject) {
      const used = Number(await orUnavailable(redis.get(key(limit, subject)))) || 0;
      if (used >= limit.count) throw tooMany(await orUnavailable(redis.pttl(key(limit, subject))));
    },
  };
}
