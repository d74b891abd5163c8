/** Starting and ending the processes of a test. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

const running = new Set();

// A test file that dies must not leave its servers behind.
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** A TCP port of 127.0.0.1 that was free a moment ago. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * Poll until `probe` gives something true.
 *
 * @template T
 * @param {string} what for the message
 * @param {() => Promise<T> | T} probe
 * @param {number} [timeoutMs]
 * @returns {Promise<T>}
 */
export async function eventually(what, probe, timeoutMs = 30_000) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Start a process; `output` collects what it writes to both streams. */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  running.add(child);
  child.output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      child.output += text;
    });
  }
  // 'close' and not 'exit': the output is complete then.
  child.ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      running.delete(child);
      resolve({ code, signal });
    });
  });
  child.ended.catch(() => {});
  return child;
}

/** End a process; kill it when it does not go within twenty seconds. */
export async function end(child, signal = 'SIGTERM') {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
  const result = await child.ended;
  clearTimeout(timer);
  return result;
}

/** Wait until something listens on the port of 127.0.0.1 and the process is still there. */
export async function listening(child, port, name) {
  await eventually(`${name} on port ${port}`, async () => {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}: ${child.output}`);
    const socket = connect(port, '127.0.0.1');
    const up = await Promise.race([
      once(socket, 'connect').then(() => true, () => false),
      once(socket, 'close').then(() => false, () => false),
    ]);
    socket.destroy();
    return up;
  });
}
