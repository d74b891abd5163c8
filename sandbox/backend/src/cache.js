/** Redis: the connection, and the two small scripts that must be atomic. */
import Redis from 'ioredis';

import { HttpError, StartError } from './errors.js';

// Counts a use of KEYS[1] within a window of ARGV[1] ms; returns the count and the ms left of the window.
const COUNT_USE = `
local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {n, redis.call('PTTL', KEYS[1])}`;

// Compares a digest with the stored one; every try counts, the right one and the last one remove it.
const CHECK_OTP = `
local stored = redis.call('HGET', KEYS[1], 'digest')
if not stored then return 'expired' end
local tries = redis.call('HINCRBY', KEYS[1], 'tries', 1)
if stored == ARGV[1] then redis.call('DEL', KEYS[1]) return 'right' end
if tries >= tonumber(ARGV[2]) then redis.call('DEL', KEYS[1]) return 'exhausted' end
return 'wrong'`;

const COMPLAIN_EVERY_MS = 10_000;

/**
 * Connect, trying again until the deadline.
 *
 * @param {object} config see config.js
 * @param {import('winston').Logger} logger
 * @param {number} deadline milliseconds since the epoch
 * @returns {Promise<Redis>} commands fail at once while there is no connection
 * @throws {StartError}
 */
export async function connectCache(config, logger, deadline) {
  const redis = new Redis(config.REDIS_URL, {
    commandTimeout: 2000,
    connectTimeout: 3000,
    connectionName: config.APP_NAME,
    enableOfflineQueue: false,
    keyPrefix: `${config.APP_NAME}:`,
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(attempt * 200, 2000),
    scripts: {
      countUse: { lua: COUNT_USE, numberOfKeys: 1 },
      checkOtp: { lua: CHECK_OTP, numberOfKeys: 1 },
    },
  });
  const where = `Redis at ${redis.options.host}:${redis.options.port}`;
  let problem = null;
  let complainedAt = 0;
  redis.on('error', (error) => {
    problem = error;
    if (Date.now() - complainedAt < COMPLAIN_EVERY_MS) return;
    complainedAt = Date.now();
    logger.error('redis connection failed', { address: where, reason: error.message });
  });
  redis.on('ready', () => logger.info('redis connected', { address: where }));
  redis.connect().catch((error) => {
    problem ??= error;
  });
  while (redis.status !== 'ready') {
    if (/WRONGPASS|NOAUTH|invalid password/i.test(problem?.message ?? '')) {
      redis.disconnect();
      throw new StartError(`${where}: login refused; check the password in REDIS_URL`);
    }
    if (Date.now() >= deadline) {
      redis.disconnect();
      throw new StartError(`${where}: no answer within ${config.START_TIMEOUT_MS} ms (${problem?.message ?? 'no error'}); check REDIS_URL and the server`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return redis;
}

/**
 * Await a Redis command; its failure becomes an answer 503.
 *
 * @template T
 * @param {Promise<T>} command
 * @returns {Promise<T>}
 */
export async function orUnavailable(command) {
  try {
    return await command;
  } catch (error) {
    throw new HttpError(503, 'cache_unavailable', 'a service behind this one does not answer, try again soon', error);
  }
}
