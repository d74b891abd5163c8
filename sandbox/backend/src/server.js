/**
 * The process: read the configuration, connect, listen, say ready, and stop without cutting a request.
 *
 * Exit status: 0 stopped as asked; 1 could not start (one line on standard error), or had to cut requests.
 */
import { writeSync } from 'node:fs';
import { createServer } from 'node:http';

import { createApp } from './app.js';
import { connectCache } from './cache.js';
import { loadConfig } from './config.js';
import { closeDatabase, connectDatabase, ensureIndexes, seedMenu } from './database.js';
import { Drain } from './drain.js';
import { ConfigError, StartError } from './errors.js';
import { openLogs } from './log.js';
import { identify } from './release.js';
import { createMail } from './services/mail.js';
import { createOtp } from './services/otp.js';
import { createRateLimit } from './services/rate-limit.js';
import { createRazorpay } from './services/razorpay.js';
import { createTokens } from './services/tokens.js';

/** Longer than a proxy keeps an idle connection (nginx: 60 s), so that the proxy closes first. */
const KEEP_ALIVE_MS = 75_000;
const HEADERS_MS = 15_000;
const REQUEST_MS = 30_000;
const IDLE_GRACE_MS = 500;

function fail(line) {
  writeSync(2, `sample-backend: ${line}\n`);
  process.exit(1);
}

function listen(server, config) {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new StartError(`cannot listen on ${config.HOST}:${config.PORT} (${error.code}); check HOST and PORT`)),
    );
    server.listen({ host: config.HOST, port: config.PORT }, resolve);
  });
}

async function main() {
  const config = loadConfig(process.env);
  const identity = {
    ...identify(config.RELEASE_ID),
    // PM2 numbers the workers of a cluster from 0.
    worker: Number(process.env.NODE_APP_INSTANCE ?? 0),
  };
  const logs = openLogs(config, { release: identity.release, worker: identity.worker });
  const { logger } = logs;

  process.on('uncaughtException', (error) => {
    logger.error('uncaught exception', { reason: error.message, stack: error.stack });
    writeSync(2, `${error.stack}\n`);
    logs.close().finally(() => process.exit(1));
    setTimeout(() => process.exit(1), 1000).unref();
  });

  const server = createServer();
  const drain = new Drain(server);
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = HEADERS_MS;
  server.requestTimeout = REQUEST_MS;

  let redis = null;
  let mail = null;
  let stopping = false;
  async function stop(reason) {
    if (stopping) return;
    stopping = true;
    logger.info('stopping', { reason });
    const cut = server.listening
      ? await drain.stop({ idleGraceMs: IDLE_GRACE_MS, timeoutMs: config.SHUTDOWN_TIMEOUT_MS })
      : 0;
    mail?.close();
    // Not quit(): it waits for an answer, which a dead server never gives.
    redis?.disconnect();
    await Promise.race([closeDatabase(), new Promise((resolve) => setTimeout(resolve, 1000).unref())]);
    logger.log(cut ? 'error' : 'info', 'stopped', { requests_cut: cut });
    await logs.close();
    process.exit(cut ? 1 : 0);
  }
  process.on('SIGINT', () => stop('SIGINT')); // PM2's stop and reload
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('message', (message) => message === 'shutdown' && stop('shutdown')); // PM2 with shutdown_with_message

  try {
    const deadline = Date.now() + config.START_TIMEOUT_MS;
    [redis] = await Promise.all([
      connectCache(config, logger, deadline),
      connectDatabase(config, identity, deadline).then(ensureIndexes).then(seedMenu),
    ]);
    mail = createMail(config, logger);
    const app = createApp({
      config,
      identity,
      logger,
      access: logs.access,
      redis,
      mail,
      otp: createOtp(redis, config),
      rateLimit: createRateLimit(redis),
      razorpay: createRazorpay(config, logger),
      tokens: createTokens(config),
      isDraining: () => drain.draining,
    });
    server.on('request', app);
    if (stopping) return;
    await listen(server, config);
  } catch (error) {
    if (stopping) return;
    logger.error('start failed', { reason: error.message });
    await logs.close();
    throw error;
  }
  logger.info('ready', { host: config.HOST, port: config.PORT, version: identity.version });
  // PM2 (wait_ready) keeps the old worker until it hears this.
  process.send?.('ready');
}

main().catch((error) => {
  if (error instanceof ConfigError) fail(`configuration: ${error.message}`);
  if (error instanceof StartError) fail(`start: ${error.message}`);
  fail(`start: ${error.stack}`);
});
