/** The Express application: what every request passes, and the routes. */
import { randomUUID } from 'node:crypto';

import express from 'express';

import { HttpError, isDatabaseDown } from './errors.js';
import { BODY_LIMIT } from './limits.js';
import { User } from './models/user.js';
import { healthRoutes } from './routes/health.js';
import { menuRoutes } from './routes/menu.js';
import { orderRoutes } from './routes/orders.js';
import { paymentRoutes } from './routes/payments.js';
import { userRoutes } from './routes/users.js';

const REQUEST_ID = /^[A-Za-z0-9_-]{8,64}$/;

// An API that serves JSON only needs no more of what browsers can be told.
const SECURITY_HEADERS = {
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'Strict-Transport-Security': 'max-age=31536000; includeSubDomains',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
};

function identifyRequest(req, res, next) {
  const given = req.get('X-Request-Id');
  req.id = given && REQUEST_ID.test(given) ? given : randomUUID();
  res.set({ ...SECURITY_HEADERS, 'X-Request-Id': req.id });
  next();
}

/** Middleware that asks for a good token of an active user and sets `req.user`. */
function authentication(tokens) {
  return async (req, _res, next) => {
    const [, token] = /^Bearer (\S+)$/.exec(req.get('Authorization') ?? '') ?? [];
    const userId = token && tokens.userOf(token);
    const user = userId && (await User.findOne({ _id: userId, active: true }).lean());
    if (!user) throw new HttpError(401, 'not_authenticated', 'a valid token is needed: Authorization: Bearer ...');
    req.user = { id: String(user._id), role: user.role, document: user };
    next();
  };
}

/** The answer to an error: what the client may know of it. */
function toHttpError(error) {
  if (error instanceof HttpError) return error;
  if (isDatabaseDown(error)) {
    return new HttpError(503, 'database_unavailable', 'a service behind this one does not answer, try again soon', error);
  }
  if (error.type === 'entity.parse.failed') return new HttpError(400, 'invalid_json', 'the body is not JSON');
  if (error.type === 'entity.too.large') return new HttpError(413, 'too_large', `the body is larger than ${BODY_LIMIT}`);
  // Express and body-parser mark the client's mistakes (bad percent-encoding, an aborted body) with a status.
  if (error.status >= 400 && error.status < 500) return new HttpError(error.status, 'bad_request', 'the request is not valid');
  return new HttpError(500, 'internal', 'something went wrong here; the request id finds it in the log', error);
}

function errorHandler(logger) {
  // Express knows an error handler by its four parameters.
  return (error, req, res, next) => {
    const answer = toHttpError(error);
    if (answer.status >= 500) {
      const { cause } = answer;
      logger.error('request failed', {
        request_id: req.id,
        method: req.method,
        path: req.path,
        status: answer.status,
        code: answer.code,
        reason: cause?.message,
        stack: answer.status === 500 ? cause?.stack : undefined,
      });
    }
    if (res.headersSent) return next(error);
    return res
      .status(answer.status)
      .set(answer.headers)
      .json({ error: { code: answer.code, message: answer.message, request_id: req.id } });
  };
}

/**
 * @param {object} parts config, identity, logger, access (log), redis, tokens, otp, mail, rateLimit, razorpay, isDraining
 * @returns {express.Express}
 */
export function createApp(parts) {
  const { config, access, logger } = parts;
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('trust proxy', config.TRUST_PROXY);
  const services = { ...parts, authenticate: authentication(parts.tokens) };

  app.use(identifyRequest, access);
  app.use('/api/health', healthRoutes(services));
  const json = express.json({ limit: BODY_LIMIT });
  app.use((req, res, next) => (req.path === '/api/payments/webhook' ? next() : json(req, res, next)));
  app.use('/api/menu', menuRoutes());
  app.use('/api/users', userRoutes(services));
  app.use('/api/orders', orderRoutes(services));
  app.use('/api/payments', paymentRoutes(services));
  app.use((req) => {
    throw new HttpError(404, 'not_found', `there is no ${req.method} ${req.path.slice(0, 80)}`);
  });
  app.use(errorHandler(logger));
  return app;
}
