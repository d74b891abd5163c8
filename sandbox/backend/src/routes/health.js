/** GET /api/health: can this process do its work? */
import { Router } from 'express';

import { pingDatabase } from '../database.js';

const TIMEOUT_MS = 1500;

async function probe(ping) {
  const started = process.hrtime.bigint();
  let timer;
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('timeout')), TIMEOUT_MS);
  });
  const work = ping();
  work.catch(() => {}); // it may fail after the timeout, when nobody waits for it any more
  try {
    await Promise.race([work, late]);
    return { status: 'up', latency_ms: Math.round(Number(process.hrtime.bigint() - started) / 1e5) / 10 };
  } catch (error) {
    return { status: 'down', latency_ms: null, error: error.message === 'timeout' ? 'timeout' : 'unreachable' };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * 200 when MongoDB and Redis both answer within {@link TIMEOUT_MS}, else 503 and which one does not.
 */
export function healthRoutes({ config, identity, redis, isDraining }) {
  const router = Router();
  router.get('/', async (_req, res) => {
    const [mongodb, cache] = await Promise.all([
      probe(async () => pingDatabase()),
      probe(async () => redis.ping()),
    ]);
    const up = mongodb.status === 'up' && cache.status === 'up';
    res.status(up ? 200 : 503).set('Cache-Control', 'no-store').json({
      status: up ? 'ok' : 'unavailable',
      app: config.APP_NAME,
      version: identity.version,
      release: identity.release,
      uptime_seconds: Math.round(process.uptime()),
      worker: identity.worker,
      pid: process.pid,
      // A worker that is being replaced still serves the connections it has, so this is no failure.
      draining: isDraining(),
      dependencies: { mongodb, redis: cache },
    });
  });
  return router;
}
