/** The configuration: every variable that README.md lists, checked once at the start. */
import { z } from 'zod';

import { withEnvFile } from './env-file.js';
import { ConfigError } from './errors.js';

/** Variables whose value must never be printed. */
const SECRET = /SECRET|PASSWORD|_URI$|REDIS_URL/;

const port = z.coerce.number().int().min(1).max(65535);
const milliseconds = z.coerce.number().int().min(100).max(300_000);
const filled = z.string().min(1);
const list = z
  .string()
  .transform((text) => text.split(',').map((item) => item.trim()).filter(Boolean));

const schema = z.object({
  NODE_ENV: z.enum(['production', 'development', 'test']).default('production'),
  APP_NAME: z.string().regex(/^[a-z][a-z0-9-]{1,30}$/, 'must be lower-case letters, digits and "-"'),
  APP_TITLE: filled.max(60),
  HOST: filled.default('127.0.0.1'),
  PORT: port,
  TRUST_PROXY: list.prefault('loopback'),
  MONGODB_URI: z
    .string()
    .regex(/^mongodb(\+srv)?:\/\/[^/\s]+\/[^/?\s]+(\?\S*)?$/, 'must be mongodb://user:password@host:port/<database>?options'),
  REDIS_URL: z.string().regex(/^rediss?:\/\/\S+$/, 'must be redis://:password@host:port/0'),
  JWT_SECRET: z.string().min(32, 'must have 32 characters or more'),
  JWT_SECRET_PREVIOUS: z.string().min(32, 'must have 32 characters or more').optional(),
  RAZORPAY_KEY_ID: filled,
  RAZORPAY_KEY_SECRET: filled,
  RAZORPAY_WEBHOOK_SECRET: filled,
  RAZORPAY_WEBHOOK_SECRET_PREVIOUS: filled.optional(),
  RAZORPAY_BASE_URL: z
    .string()
    .regex(/^https?:\/\/[^/\s]+$/, 'must be http(s)://host[:port] without a path')
    .default('https://api.razorpay.com'),
  SMTP_HOST: filled,
  SMTP_PORT: port,
  SMTP_USERNAME: filled,
  SMTP_PASSWORD: filled,
  SMTP_TLS: z.enum(['starttls', 'tls', 'none']).default('starttls'),
  MAIL_FROM: z.string().regex(/^[^@\r\n]+@[^@\s]+$/, 'must be an address or Name <address>'),
  LOG_DIR: filled.optional(),
  LOG_LEVEL: z.enum(['error', 'warn', 'info', 'debug']).default('info'),
  STAFF_EMAILS: list.prefault(''),
  RELEASE_ID: filled.optional(),
  START_TIMEOUT_MS: milliseconds.default(12_000),
  SHUTDOWN_TIMEOUT_MS: milliseconds.default(8_000),
});

function describe(issue, environment) {
  const name = String(issue.path[0]);
  const value = environment[name];
  if (value === undefined) return `${name}: is required`;
  if (value === '') return `${name}: is empty`;
  const problem = issue.message.replace(/^Invalid input: /, '');
  return SECRET.test(name) ? `${name}: ${problem}` : `${name}: ${problem} (got ${JSON.stringify(value)})`;
}

/**
 * Read and check the configuration.
 *
 * @param {Record<string, string | undefined>} environment usually process.env
 * @returns {Readonly<z.infer<typeof schema>>}
 * @throws {ConfigError} one line with the first problem and how many more there are
 */
export function loadConfig(environment) {
  const merged = withEnvFile(environment);
  const result = schema.safeParse(merged);
  if (!result.success) {
    const { issues } = result.error;
    const names = new Set(issues.map((issue) => issue.path[0]));
    const more = names.size > 1 ? ` (and ${names.size - 1} more: ${[...names].slice(1).join(', ')})` : '';
    const where = environment.ENV_FILE ? `set it in ${environment.ENV_FILE}` : 'set it in the environment or name a file by ENV_FILE';
    throw new ConfigError(`${describe(issues[0], merged)}${more}; ${where}`);
  }
  return Object.freeze(result.data);
}
