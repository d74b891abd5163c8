/** Limits of use, in one place. Windows in milliseconds. */
const QUARTER_HOUR = 15 * 60 * 1000;

export const LIMITS = {
  /** Mails with a one-time password, to one address of a person. */
  otpMail: { name: 'otp-mail', count: 5, windowMs: QUARTER_HOUR },
  /** Mails with a one-time password, asked from one network address. */
  otpRemote: { name: 'otp-remote', count: 600, windowMs: QUARTER_HOUR },
  /** Failed logins of one account. */
  loginAccount: { name: 'login-account', count: 10, windowMs: QUARTER_HOUR },
  /** Failed logins from one network address. */
  loginRemote: { name: 'login-remote', count: 100, windowMs: QUARTER_HOUR },
};

/** How long a one-time password lives, and how often it may be tried. */
export const OTP = { digits: 6, ttlSeconds: 600, tries: 5 };

export const TOKEN_TTL_SECONDS = 3600;
export const BODY_LIMIT = '64kb';
export const ORDER_ITEMS = 20;
export const ORDER_QUANTITY = 50;
