/**
 * Runs the migrations of one release, each once, and records them in the application's database.
 *
 * Run by the Ansible module `app_migrations` as the application's user, in the release's folder. A request comes
 * as JSON on stdin, the answer goes as JSON to stdout; what is logged goes to stderr and to LOG_DIR/migrations.log.
 * The driver is the release's own, `mongodb` or the one that `mongoose` brings.
 *
 * A migration is a file `migrations/<number>-<words>.js` (.mjs, .cjs) whose default export is a function of
 * `{ db, client, log }`. `<number>-<words>.after.js` runs when all hosts run the release, `<number>-<words>.down.js`
 * takes it back. One that was interrupted runs again, so it must be fit to be repeated.
 */
import { createHash, randomUUID } from 'node:crypto';
import { appendFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const RECORDS = 'steward_migrations';
const LOCK = 'steward_migrations_lock';
const FILE = /^(\d+-[A-Za-z0-9._-]+?)(\.after|\.down)?\.[cm]?js$/;
const ALL = '0';
const SELECTION_MS = 10_000;
const DUPLICATE_KEY = 11000;

/** What a person can do something about; its message is one line. */
class MigrationError extends Error {}

let request;
let running = null; // the record of the migration that runs now

/** By number, so that 9 comes before 10; of equal numbers by the words. */
function order(a, b) {
  const numbers = BigInt(a.split('-', 1)[0]) - BigInt(b.split('-', 1)[0]);
  if (numbers !== 0n) return numbers < 0n ? -1 : 1;
  return a < b ? -1 : Number(a > b);
}

/** One line for people and for the log that the application's other logs are beside. */
function log(message, level = 'info') {
  const line = JSON.stringify({
    timestamp: new Date().toISOString(),
    level,
    message: String(message),
    ...(running && { migration: running._id }),
    release: request.release,
  });
  process.stderr.write(`${line}\n`);
  if (!process.env.LOG_DIR) return;
  try {
    appendFileSync(join(process.env.LOG_DIR, 'migrations.log'), `${line}\n`);
  } catch (error) {
    process.stderr.write(`LOG_DIR: ${error.code}\n`);
  }
}

/**
 * The migrations of a release in their order.
 *
 * @param {string} folder the release's folder `migrations`; one that does not exist holds none
 * @returns {{name: string, phase: 'before' | 'after', file: string, down: string | null, sha256: string}[]}
 */
function migrationsIn(folder) {
  const found = new Map();
  const downs = new Map();
  for (const file of existsSync(folder) ? readdirSync(folder).sort() : []) {
    const match = FILE.exec(file);
    if (!match) continue;
    const [, name, kind] = match;
    const files = kind === '.down' ? downs : found;
    if (files.has(name)) throw new MigrationError(`migrations/${file}: there is another file of ${name}`);
    if (kind === '.down') {
      downs.set(name, join(folder, file));
    } else {
      const path = join(folder, file);
      const sha256 = createHash('sha256').update(readFileSync(path)).digest('hex');
      found.set(name, { name, phase: kind === '.after' ? 'after' : 'before', file: path, sha256 });
    }
  }
  for (const name of downs.keys()) {
    if (!found.has(name)) throw new MigrationError(`migrations: there is a way back of ${name}, but not ${name} itself`);
  }
  return [...found.values()]
    .map((one) => ({ ...one, down: downs.get(one.name) ?? null }))
    .sort((a, b) => order(a.name, b.name));
}

/** The driver's MongoClient, as the release has it. */
function driver(release) {
  const require = createRequire(join(release, 'package.json'));
  try {
    return require('mongodb').MongoClient;
  } catch {
    try {
      return require('mongoose').mongo.MongoClient;
    } catch {
      throw new MigrationError(`${release} has neither the package mongodb nor mongoose, which its migrations need`);
    }
  }
}

/** KEY=VALUE lines, nothing expanded, quotes around the whole value. */
function environmentOf(file) {
  const found = {};
  for (const line of readFileSync(file, 'utf8').split(/\r?\n/)) {
    const match = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line.trim());
    if (match) found[match[1]] = match[2].replace(/^(['"])(.*)\1$/, '$2');
  }
  return found;
}

/** The database's lock on its migrations, held while this process lives and renews it. */
class Lock {
  constructor(db, leaseSeconds) {
    this.db = db;
    this.leaseMs = leaseSeconds * 1000;
    this.holder = randomUUID();
    this.renewed = 0;
  }

  /** The server's clock: those of the hosts may differ. */
  async until() {
    const { localTime } = await this.db.command({ hello: 1 });
    return new Date(localTime.getTime() + this.leaseMs);
  }

  async take() {
    const locks = this.db.collection(LOCK);
    const until = await this.until();
    const now = new Date(until.getTime() - this.leaseMs);
    const { holder } = this;
    try {
      await locks.updateOne(
        { _id: 'lock', until: { $lt: now } },
        { $set: { holder, until, host: request.host, by: request.by, release: request.release } },
        { upsert: true },
      );
    } catch (error) {
      if (error.code !== DUPLICATE_KEY) throw error;
      const other = await locks.findOne({ _id: 'lock' });
      throw new MigrationError(
        `another run migrates this database: ${other?.by ?? 'unknown'} on ${other?.host ?? 'unknown'} with release `
          + `${other?.release ?? 'unknown'}; wait until it has ended (its lock ends at ${other?.until?.toISOString()})`,
      );
    }
    this.renewed = Date.now();
    this.timer = setInterval(() => this.renew(), this.leaseMs / 6);
  }

  async renew() {
    try {
      const { matchedCount } = await this.db
        .collection(LOCK)
        .updateOne({ _id: 'lock', holder: this.holder }, { $set: { until: await this.until() } });
      if (matchedCount === 0) abandon('another run has taken the lock: this one was stopped');
      this.renewed = Date.now();
    } catch (error) {
      // A short outage is waited for; after it, nobody else may have begun.
      if (Date.now() - this.renewed > this.leaseMs / 2) abandon(`the lock could not be renewed: ${error.message}`);
    }
  }

  async give() {
    clearInterval(this.timer);
    try {
      await this.db.collection(LOCK).updateOne({ _id: 'lock', holder: this.holder }, { $set: { until: new Date(0) } });
    } catch (error) {
      log(`the lock was not given back and ends by itself: ${error.message}`, 'warn');
    }
  }
}

/** End at once, without another write: somebody else may work on the database now. */
function abandon(reason) {
  log(reason, 'error');
  answer({ failed: running?._id ?? '', reason });
  process.exit(1);
}

function answer(said) {
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

/** What the database has, against what the release brings. */
async function compare(db, migrations) {
  const records = (await db.collection(RECORDS).find({}).toArray()).sort((a, b) => order(a._id, b._id));
  const known = new Map(migrations.map((one) => [one.name, one]));
  const applied = records.filter((one) => one.state === 'applied');
  const has = new Set(applied.map((one) => one._id));
  const collections = await db.listCollections({}, { nameOnly: true }).toArray();
  return {
    records,
    empty: collections.every(({ name }) => name.startsWith('steward_migrations') || name.startsWith('system.')),
    applied: applied.map((one) => ({ name: one._id, phase: one.phase, at: one.ended_at, release: one.release })),
    pending: migrations
      .filter(({ name }) => !has.has(name))
      .map(({ name, phase, down }) => ({ name, phase, reversible: down !== null })),
    unknown: applied.filter((one) => !known.has(one._id)).map((one) => ({ name: one._id, phase: one.phase })),
    altered: applied.filter((one) => known.has(one._id) && known.get(one._id).sha256 !== one.sha256).map((one) => one._id),
    interrupted: records.filter((one) => one.state === 'running').map((one) => one._id),
  };
}

/** Run one function of a migration and record how it went; `done` is the state after it. */
async function run(context, migration, file, states) {
  const records = context.db.collection(RECORDS);
  const before = await records.findOne({ _id: migration.name });
  running = {
    _id: migration.name,
    state: states.running,
    phase: migration.phase,
    sha256: migration.sha256,
    attempts: (before?.attempts ?? 0) + 1,
    started_at: new Date(),
    ended_at: null,
    release: request.release,
    by: request.by,
    why: request.why,
    host: request.host,
    reason: null,
  };
  const record = (change) => {
    Object.assign(running, change);
    return records.replaceOne({ _id: running._id }, running, { upsert: true, writeConcern: { w: 'majority' } });
  };
  await record({});
  log(`${states.running}, attempt ${running.attempts}`);
  try {
    const { default: step } = await import(pathToFileURL(file));
    if (typeof step !== 'function') throw new MigrationError('its default export is no function');
    await step({ db: context.db, client: context.client, log: (text) => log(text) });
  } catch (error) {
    log(error?.stack ?? error, 'error');
    await record({ state: states.failed, ended_at: new Date(), reason: String(error?.message ?? error) });
    throw new MigrationError(`${migration.name}: ${error?.message ?? error}`);
  }
  await record({ state: states.done, ended_at: new Date() });
  log(states.done);
  const seconds = (running.ended_at - running.started_at) / 1000;
  running = null;
  return { name: migration.name, seconds };
}

const UP = { running: 'running', done: 'applied', failed: 'failed' };
// What could not be taken back is still there, as a whole or in part.
const DOWN = { running: 'applied', done: 'reverted', failed: 'applied' };

/** Apply what is pending of one phase. */
async function up(context, migrations, state) {
  const pending = new Set(state.pending.filter(({ phase }) => phase === request.phase).map(({ name }) => name));
  const done = [];
  for (const migration of migrations.filter(({ name }) => pending.has(name))) {
    done.push(await run(context, migration, migration.file, UP));
  }
  return done;
}

/** Take back what is applied and comes after the migration `request.to`, the latest first. */
async function down(context, migrations, state) {
  const known = new Map(migrations.map((one) => [one.name, one]));
  if (request.to !== ALL && !state.records.some((one) => one._id === request.to && one.state === 'applied')) {
    throw new MigrationError(`${request.to} is not applied; applied are: ${state.applied.map(({ name }) => name).join(', ')}`);
  }
  const doomed = state.applied.map(({ name }) => name).filter((name) => request.to === ALL || order(name, request.to) > 0).reverse();
  const final = doomed.filter((name) => !known.get(name)?.down);
  if (final.length > 0) {
    throw new MigrationError(`there is no way back (migrations/<name>.down.js) in release ${request.release} for: ${final.join(', ')}`);
  }
  const done = [];
  for (const name of doomed) {
    done.push(await run(context, known.get(name), known.get(name).down, DOWN));
  }
  return done;
}

async function main() {
  const migrations = migrationsIn(join(request.folder, 'migrations'));
  const MongoClient = driver(request.folder);
  const uri = process.env[request.uri_variable];
  if (!uri) throw new MigrationError(`${request.environment_file} has no ${request.uri_variable}`);
  const client = new MongoClient(uri, { appName: 'steward-migrations', serverSelectionTimeoutMS: SELECTION_MS });
  try {
    await client.connect();
    const db = client.db();
    if (request.verb === 'status') return { ...(await compare(db, migrations)), done: [] };
    const lock = new Lock(db, request.lease_s);
    await lock.take();
    try {
      const verbs = { up, down };
      const done = await verbs[request.verb]({ db, client }, migrations, await compare(db, migrations));
      return { ...(await compare(db, migrations)), done };
    } finally {
      await lock.give();
    }
  } finally {
    await client.close();
  }
}

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
request = JSON.parse(Buffer.concat(chunks).toString('utf8'));
console.log = console.info = (...words) => log(words.join(' '));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => abandon(`ended by ${signal}`));
process.on('unhandledRejection', (error) => abandon(`a promise nobody waited for failed: ${error?.message ?? error}`));
try {
  Object.assign(process.env, environmentOf(request.environment_file));
  process.chdir(request.folder);
  const { records, ...said } = await main();
  answer(said);
  process.exit(0);
} catch (error) {
  // The driver's messages can hold the address, never the password: it is not part of a MongoClient's errors.
  const reason = error instanceof MigrationError ? error.message : `${error?.message ?? error}`;
  answer({ failed: running?._id ?? '', reason });
  process.exit(1);
}
