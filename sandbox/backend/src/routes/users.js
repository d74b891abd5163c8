/** Users: register, verify by a code in a mail, log in. */
import { Router } from 'express';
import { z } from 'zod';

import { HttpError, isDuplicateKey } from '../errors.js';
import { LIMITS, OTP, TOKEN_TTL_SECONDS } from '../limits.js';
import { User, userView } from '../models/user.js';
import { hashPassword, passwordMatches } from '../services/passwords.js';
import { check, email } from '../validate.js';

const password = z.string().min(10, 'must have 10 characters or more').max(128);
const name = z
  .string()
  .trim()
  .min(1)
  .max(80)
  .regex(/^[^\p{Cc}]*$/u, 'must not hold control characters');
const otpDigits = z.string().regex(new RegExp(`^\\d{${OTP.digits}}$`), `must be ${OTP.digits} digits`);

const Registration = z.strictObject({ name, email, password });
const OtpRequest = z.strictObject({ email });
const Verification = z.strictObject({ email, otp: otpDigits });
const Login = z.strictObject({ email, password: z.string().min(1).max(128) });

const OTP_ERRORS = {
  wrong: 'the code is not right',
  exhausted: 'the code was not right too often; ask for another',
  expired: 'there is no code for this address, or it is too old; ask for another',
};

export function userRoutes({ config, rateLimit, otp, mail, tokens, authenticate }) {
  const router = Router();
  const session = (user) => ({
    user: userView(user),
    token: tokens.issue(String(user._id)),
    expires_in: TOKEN_TTL_SECONDS,
  });

  async function limitMails(req, address) {
    await rateLimit.use(LIMITS.otpRemote, req.ip);
    await rateLimit.use(LIMITS.otpMail, address);
  }

  async function sendCode(user) {
    await mail.sendOtp(user, await otp.issue(String(user._id)));
  }

  router.post('/', async (req, res) => {
    const input = check(Registration, req.body);
    await limitMails(req, input.email);
    const fresh = { name: input.name, passwordHash: await hashPassword(input.password) };
    // Whoever registered the address before without verifying it has proven nothing: the last one counts.
    let user = await User.findOneAndUpdate({ email: input.email, verifiedAt: null }, { $set: fresh }, { new: true });
    if (!user) {
      try {
        user = await User.create({ ...fresh, email: input.email });
      } catch (error) {
        if (!isDuplicateKey(error)) throw error;
        throw new HttpError(409, 'email_taken', 'this address has an account already');
      }
    }
    await sendCode(user);
    res.status(201).json({ user: userView(user) });
  });

  router.post('/otp', async (req, res) => {
    const input = check(OtpRequest, req.body);
    await limitMails(req, input.email);
    const user = await User.findOne({ email: input.email, verifiedAt: null });
    if (user) await sendCode(user);
    // The same answer for an unknown address: it must not tell who has an account.
    res.status(202).json({ status: 'accepted' });
  });

  router.post('/verify', async (req, res) => {
    const input = check(Verification, req.body);
    const user = await User.findOne({ email: input.email, active: true });
    const result = user ? await otp.check(String(user._id), input.otp) : 'expired';
    if (result !== 'right') throw new HttpError(400, `otp_${result}`, OTP_ERRORS[result]);
    const role = config.STAFF_EMAILS.some((staff) => staff.toLowerCase() === user.email) ? 'staff' : user.role;
    const verified = await User.findOneAndUpdate(
      { _id: user._id },
      { $set: { verifiedAt: new Date(), lastLoginAt: new Date(), role } },
      { new: true },
    );
    res.json(session(verified));
  });

  router.post('/login', async (req, res) => {
    const input = check(Login, req.body);
    await rateLimit.require(LIMITS.loginAccount, input.email);
    await rateLimit.require(LIMITS.loginRemote, req.ip);
    const user = await User.findOne({ email: input.email, active: true });
    if (!(await passwordMatches(input.password, user?.passwordHash))) {
      await rateLimit.use(LIMITS.loginAccount, input.email);
      await rateLimit.use(LIMITS.loginRemote, req.ip);
      throw new HttpError(401, 'login_failed', 'address or password is not right');
    }
    if (!user.verifiedAt) throw new HttpError(403, 'not_verified', 'the address is not verified; ask for a code');
    const current = await User.findOneAndUpdate({ _id: user._id }, { $set: { lastLoginAt: new Date() } }, { new: true });
    res.json(session(current));
  });

  router.get('/me', authenticate, (req, res) => {
    res.json({ user: userView(req.user.document) });
  });

  return router;
}
