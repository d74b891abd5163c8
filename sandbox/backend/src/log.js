/** Winston for the application's log, Morgan for the access log: JSON, one object a line. */
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

import morgan from 'morgan';
import winston from 'winston';

import { ConfigError } from './errors.js';
import { ReopeningFile } from './reopening-file.js';

const HIDDEN = /password|secret|token|otp|authorization|signature/i;

/** Replaces the value of every key that sounds like a secret, at any depth. */
function redact(value) {
  if (Array.isArray(value)) return value.map(redact);
  if (value === null || typeof value !== 'object' || value instanceof Date) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, HIDDEN.test(key) ? '[hidden]' : redact(inner)]),
  );
}

const hideSecrets = winston.format((info) => {
  for (const key of Object.keys(info)) {
    info[key] = HIDDEN.test(key) ? '[hidden]' : redact(info[key]);
  }
  return info;
});

function target(directory, name) {
  return directory ? new ReopeningFile(join(directory, name)) : process.stdout;
}

/**
 * @param {object} config see config.js
 * @param {{release: string, worker: number}} identity written into every line
 * @returns {{logger: winston.Logger, access: import('express').RequestHandler, close: () => Promise<void>}}
 * @throws {ConfigError} when LOG_DIR cannot be written
 */
export function openLogs(config, identity) {
  if (config.LOG_DIR) {
    try {
      accessSync(config.LOG_DIR, constants.W_OK | constants.X_OK);
    } catch (error) {
      throw new ConfigError(`LOG_DIR: ${config.LOG_DIR} cannot be written (${error.code}); create it for this user`);
    }
  }
  const about = { app: config.APP_NAME, ...identity };
  const appStream = target(config.LOG_DIR, 'app.log');
  const accessStream = target(config.LOG_DIR, 'access.log');
  const logger = winston.createLogger({
    level: config.LOG_LEVEL,
    defaultMeta: about,
    format: winston.format.combine(
      winston.format.timestamp(),
      winston.format.errors({ stack: true }),
      hideSecrets(),
      winston.format.json(),
    ),
    transports: [new winston.transports.Stream({ stream: appStream })],
  });
  const access = morgan(
    (tokens, req, res) =>
      JSON.stringify({
        timestamp: new Date().toISOString(),
        ...about,
        method: req.method,
        // The path without its query, where a client may have put anything.
        path: req.originalUrl.split('?', 1)[0],
        status: res.headersSent ? res.statusCode : null,
        duration_ms: Number(tokens['response-time'](req, res, 1)) || null,
        bytes: Number(tokens.res(req, res, 'content-length')) || null,
        remote: req.ip,
        request_id: req.id,
        user: req.user?.id,
        user_agent: req.get('user-agent'),
      }),
    { stream: accessStream },
  );
  const close = async () => {
    for (const stream of new Set([appStream, accessStream])) {
      if (stream !== process.stdout) await new Promise((resolve) => stream.end(resolve));
    }
  };
  return { logger, access, close };
}
