/** Errors that this application raises on purpose. */

/** The environment cannot be used; the message is one line and holds no secret. */
export class ConfigError extends Error {}

/** The process cannot start; the message is one line and holds no secret. */
export class StartError extends Error {}

/** An answer other than success, as the client shall see it. */
export class HttpError extends Error {
  /**
   * @param {number} status HTTP status
   * @param {string} code word for programs, such as `order_not_found`
   * @param {string} message one line for people
   * @param {Error} [cause] for the log, never sent
   */
  constructor(status, code, message, cause) {
    super(message, { cause });
    this.status = status;
    this.code = code;
    /** Headers of the answer. */
    this.headers = {};
  }
}

const DATABASE_DOWN = new Set([
  'MongoNetworkError',
  'MongoNetworkTimeoutError',
  'MongoServerSelectionError',
  'MongooseServerSelectionError',
  'MongoPoolClearedError',
  'MongoPoolClosedError',
  'MongoNotConnectedError',
  'MongoTopologyClosedError',
  'MongoWaitQueueTimeoutError',
]);

/** Whether `error` says that MongoDB was not reached (and not that it refused something). */
export function isDatabaseDown(error) {
  return DATABASE_DOWN.has(error?.name) || /before initial connection is complete/.test(error?.message ?? '');
}

/** Whether `error` is MongoDB's refusal of a second document with the same unique key. */
export function isDuplicateKey(error) {
  return error?.code === 11000;
}
