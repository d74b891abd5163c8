/** JSON Web Tokens, HS256. While the secret rotates, the previous one is still accepted. */
import jwt from 'jsonwebtoken';

import { TOKEN_TTL_SECONDS } from '../limits.js';

/** @param {object} config see config.js */
export function createTokens(config) {
  const secrets = [config.JWT_SECRET, config.JWT_SECRET_PREVIOUS].filter(Boolean);
  const common = { issuer: config.APP_NAME };
  return {
    /** @returns {string} a token for the user with this id */
    issue(userId) {
      return jwt.sign({}, secrets[0], { ...common, algorithm: 'HS256', subject: userId, expiresIn: TOKEN_TTL_SECONDS });
    },
    /** @returns {string | null} the user's id, or null for a token that is not good */
    userOf(token) {
      for (const secret of secrets) {
        try {
          return jwt.verify(token, secret, { ...common, algorithms: ['HS256'] }).sub;
        } catch (error) {
          if (!(error instanceof jwt.JsonWebTokenError)) throw error; // also the base of "expired"
        }
      }
      return null;
    },
  };
}
