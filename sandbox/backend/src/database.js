/** MongoDB through Mongoose: connection, indexes, first data. */
import mongoose from 'mongoose';

import { StartError } from './errors.js';
import { MENU } from './menu.js';
import { MenuItem } from './models/menu-item.js';
import { Order } from './models/order.js';
import { Payment } from './models/payment.js';
import { User } from './models/user.js';
import { WebhookEvent } from './models/webhook-event.js';

const MODELS = [User, MenuItem, Order, Payment, WebhookEvent];
const SELECTION_MS = 3000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Host and port of a MongoDB URI, without the credentials. */
export function hostsOf(uri) {
  return uri.replace(/^[^:]+:\/\/(?:[^@/]*@)?/, '').split('/', 1)[0];
}

/**
 * Connect, trying again until the deadline: at a host's boot the database may come up later than we.
 *
 * @param {object} config see config.js
 * @param {{release: string}} identity shown by the server as the client's name
 * @param {number} deadline milliseconds since the epoch
 * @throws {StartError}
 */
export async function connectDatabase(config, identity, deadline) {
  const where = `MongoDB at ${hostsOf(config.MONGODB_URI)}`;
  for (;;) {
    const left = deadline - Date.now();
    try {
      await mongoose.connect(config.MONGODB_URI, {
        appName: `${config.APP_NAME}/${identity.release}`,
        autoCreate: false,
        autoIndex: false, // ensureIndexes does it, before the first request
        bufferCommands: false,
        connectTimeoutMS: SELECTION_MS,
        maxPoolSize: 20,
        serverSelectionTimeoutMS: Math.max(200, Math.min(SELECTION_MS, left)),
        socketTimeoutMS: 20_000,
      });
      return;
    } catch (error) {
      await mongoose.disconnect();
      if (error.code === 18 || /auth/i.test(error.message)) {
        throw new StartError(`${where}: login refused; check user and password in MONGODB_URI`);
      }
      if (error.name === 'MongoParseError' || error.name === 'MongoInvalidArgumentError') {
        throw new StartError(`MONGODB_URI: ${error.message}`);
      }
      if (Date.now() + 300 >= deadline) {
        throw new StartError(`${where}: no answer within ${config.START_TIMEOUT_MS} ms (${error.message}); check MONGODB_URI and the server`);
      }
      await pause(300);
    }
  }
}

/**
 * Create the indexes that are missing. Several workers do this at the same moment; a loser of that race tries again.
 *
 * @throws {Error} when an index cannot be created three times
 */
export async function ensureIndexes() {
  for (const model of MODELS) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await model.createIndexes();
        break;
      } catch (error) {
        if (attempt === 3) throw error;
        await pause(200 * attempt);
      }
    }
  }
}

/** Write the menu's items that are missing; what is there is left as it is. */
export async function seedMenu() {
  const present = new Set((await MenuItem.find({}, { sku: 1 }).lean()).map(({ sku }) => sku));
  for (const item of MENU.filter(({ sku }) => !present.has(sku))) {
    try {
      await MenuItem.create(item);
    } catch (error) {
      if (error.code !== 11000) throw error; // another worker wrote it in between
    }
  }
}

/** One cheap read that proves login, network and database. */
export async function pingDatabase() {
  await mongoose.connection.db.collection(MenuItem.collection.name).findOne({}, { projection: { _id: 1 } });
}

/** Close all connections to MongoDB. */
export async function closeDatabase() {
  await mongoose.disconnect();
}
