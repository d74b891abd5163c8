/** One-time passwords: six digits in a mail, kept in Redis as a digest. */
import { createHmac, randomInt } from 'node:crypto';

import { orUnavailable } from '../cache.js';
import { OTP } from '../limits.js';

/**
 * @param {import('ioredis').Redis} redis
 * @param {object} config see config.js
 */
export function createOtp(redis, config) {
  const key = (userId) => `otp:${userId}`;
  const digest = (userId, otp) => createHmac('sha256', config.JWT_SECRET).update(`otp:${userId}:${otp}`).digest('hex');
  return {
    /** Make a new one, which replaces an older one. @returns {Promise<string>} */
    async issue(userId) {
      const otp = String(randomInt(10 ** OTP.digits)).padStart(OTP.digits, '0');
      const write = redis
        .multi()
        .del(key(userId))
        .hset(key(userId), 'digest', digest(userId, otp), 'tries', 0)
        .expire(key(userId), OTP.ttlSeconds)
        .exec();
      await orUnavailable(write);
      return otp;
    },
    /** @returns {Promise<'right' | 'wrong' | 'exhausted' | 'expired'>} a right one works once */
    check(userId, otp) {
      return orUnavailable(redis.checkOtp(key(userId), digest(userId, otp), OTP.tries));
    },
  };
}
