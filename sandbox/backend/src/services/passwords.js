/** Password hashes with scrypt, which Node has built in: no native add-on to compile. */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify(scrypt);
// 16 MiB and some 50 ms a hash; the parameters stand in each hash, so they can be raised later.
const COST = { N: 16_384, r: 8, p: 1 };
const LENGTH = 32;

/** @returns {Promise<string>} `scrypt$N$r$p$salt$hash` */
export async function hashPassword(password) {
  const salt = randomBytes(16);
  const hash = await derive(password, salt, LENGTH, COST);
  return ['scrypt', COST.N, COST.r, COST.p, salt.toString('base64'), hash.toString('base64')].join('$');
}

const NOBODY = await hashPassword(randomBytes(16).toString('hex'));

/**
 * @param {string} password
 * @param {string | undefined} stored undefined for an unknown user, which takes as long as a known one
 */
export async function passwordMatches(password, stored) {
  const [, N, r, p, salt, hash] = (stored ?? NOBODY).split('$');
  const expected = Buffer.from(hash, 'base64');
  const actual = await derive(password, Buffer.from(salt, 'base64'), expected.length, {
    N: Number(N),
    r: Number(r),
    p: Number(p),
  });
  return timingSafeEqual(actual, expected) && stored !== undefined;
}
