/** Mail with one-time passwords, over SMTP. */
import { createTransport } from 'nodemailer';

import { HttpError } from '../errors.js';
import { OTP } from '../limits.js';

/**
 * @param {object} config see config.js
 * @param {import('winston').Logger} logger
 */
export function createMail(config, logger) {
  const transport = createTransport({
    host: config.SMTP_HOST,
    port: config.SMTP_PORT,
    secure: config.SMTP_TLS === 'tls',
    requireTLS: config.SMTP_TLS === 'starttls',
    ignoreTLS: config.SMTP_TLS === 'none',
    auth: { user: config.SMTP_USERNAME, pass: config.SMTP_PASSWORD },
    connectionTimeout: 4000,
    greetingTimeout: 4000,
    socketTimeout: 8000,
  });
  return {
    /**
     * @param {{_id: unknown, name: string, email: string}} user
     * @param {string} otp
     * @throws {HttpError} 503 when the server did not take the mail; the log has its reason
     */
    async sendOtp(user, otp) {
      try {
        await transport.sendMail({
          from: config.MAIL_FROM,
          to: { name: user.name, address: user.email },
          subject: `${config.APP_TITLE}: your code`,
          text:
            `Hello ${user.name},\n\nyour ${config.APP_TITLE} code is ${otp}.\n` +
            `It is good for ${OTP.ttlSeconds / 60} minutes. If you did not ask for it, ignore this mail.\n`,
        });
        logger.info('otp mail sent', { user_id: String(user._id) });
      } catch (error) {
        // The server's answer could quote the mail; its codes say enough.
        logger.error('otp mail not sent', {
          user_id: String(user._id),
          smtp: `${config.SMTP_HOST}:${config.SMTP_PORT}`,
          reason: error.code,
          smtp_status: error.responseCode,
          smtp_command: error.command,
        });
        throw new HttpError(503, 'mail_unavailable', 'the mail with the code could not be sent, ask for another soon');
      }
    },
    close: () => transport.close(),
  };
}
