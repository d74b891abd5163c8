/** Stopping an HTTP server without cutting a request. */
import net from 'node:net';

/**
 * Follows the open requests of a server, so that it can be stopped behind a proxy that keeps connections open.
 *
 * Create it before any other `request` listener.
 */
export class Drain {
  #server;
  #open = new Set();
  #draining = false;

  /** @param {import('node:http').Server} server */
  constructor(server) {
    this.#server = server;
    server.on('request', (_req, res) => {
      this.#open.add(res);
      if (this.#draining) res.setHeader('Connection', 'close');
      res.once('close', () => this.#open.delete(res));
    });
  }

  /** Whether {@link stop} was called. */
  get draining() {
    return this.#draining;
  }

  /**
   * Stop accepting, let open requests end, close everything.
   *
   * Idle connections live on for `idleGraceMs`: a proxy may be sending a request on one at this very moment, and
   * closing it would lose that request (nginx does not repeat a POST). A request that comes in that time is
   * answered, with `Connection: close`. `http.Server.close()` closes idle connections at once since Node 19, so
   * the listening socket alone is closed through net.Server.
   *
   * @param {{idleGraceMs: number, timeoutMs: number}} limits
   * @returns {Promise<number>} how many requests were cut off because `timeoutMs` had passed
   */
  async stop({ idleGraceMs, timeoutMs }) {
    this.#draining = true;
    for (const res of this.#open) {
      if (!res.headersSent) res.setHeader('Connection', 'close');
    }
    const closed = new Promise((resolve) => net.Server.prototype.close.call(this.#server, resolve));
    // Answers whose headers had gone out before, keep their connections: close those as they fall idle.
    let sweep;
    const grace = setTimeout(() => {
      this.#server.closeIdleConnections();
      sweep = setInterval(() => this.#server.closeIdleConnections(), 100);
    }, idleGraceMs);
    let cut = 0;
    const deadline = setTimeout(() => {
      cut = this.#open.size;
      this.#server.closeAllConnections();
    }, timeoutMs);
    await closed;
    for (const timer of [grace, deadline]) clearTimeout(timer);
    clearInterval(sweep);
    return cut;
  }
}
