/** Orders: create from the menu, list, move along the status machine. */
import { randomUUID } from 'node:crypto';

import { Router } from 'express';
import { z } from 'zod';

import { HttpError, isDuplicateKey } from '../errors.js';
import { ORDER_ITEMS, ORDER_QUANTITY } from '../limits.js';
import { MenuItem } from '../models/menu-item.js';
import { Order, STATUSES, TRANSITIONS, orderView } from '../models/order.js';
import { check, id } from '../validate.js';

const TAX_PERCENT = 5;
const DELIVERY_FEE = 3000; // paise
const FREE_DELIVERY_FROM = 50_000; // paise

const Creation = z.strictObject({
  items: z
    .array(z.strictObject({ sku: z.string().min(1).max(60), quantity: z.int().min(1).max(ORDER_QUANTITY) }))
    .min(1)
    .max(ORDER_ITEMS)
    .refine((items) => new Set(items.map(({ sku }) => sku)).size === items.length, 'every sku once, with its quantity'),
});
const IdempotencyKey = z.string().regex(/^[A-Za-z0-9_-]{8,64}$/, 'must be 8 to 64 letters, digits, "-" or "_"');
const Listing = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  before: z.iso.datetime().optional(),
});
const Move = z.strictObject({ status: z.enum(STATUSES) });

/**
 * Totals of an order, all in paise: tax on the items, rounded to whole paise, and delivery below a limit.
 *
 * @param {{unitPrice: number, quantity: number}[]} lines
 */
export function totalsOf(lines) {
  const subtotal = lines.reduce((sum, { unitPrice, quantity }) => sum + unitPrice * quantity, 0);
  const tax = Math.round((subtotal * TAX_PERCENT) / 100);
  const deliveryFee = subtotal >= FREE_DELIVERY_FROM ? 0 : DELIVERY_FEE;
  return { subtotal, tax, deliveryFee, total: subtotal + tax + deliveryFee };
}

async function priced(items) {
  const found = await MenuItem.find({ sku: { $in: items.map(({ sku }) => sku) }, available: true }).lean();
  const menu = new Map(found.map((item) => [item.sku, item]));
  return items.map(({ sku, quantity }) => {
    const item = menu.get(sku);
    if (!item) throw new HttpError(400, 'not_on_menu', `${sku} is not on the menu`);
    return { sku, name: item.name, unitPrice: item.price, quantity, lineTotal: item.price * quantity };
  });
}

const sameItems = (order, items) =>
  order.items.length === items.length &&
  order.items.every((line, index) => line.sku === items[index].sku && line.quantity === items[index].quantity);

export function orderRoutes({ authenticate, logger }) {
  const router = Router();
  router.use(authenticate);

  /** The order, if the user may see it; one of another user does not exist for them. */
  async function visibleOrder(req) {
    const key = check(id, req.params.id);
    const order = await Order.findById(key);
    if (!order || (String(order.user) !== req.user.id && req.user.role !== 'staff')) {
      throw new HttpError(404, 'order_not_found', 'there is no such order');
    }
    return order;
  }

  router.post('/', async (req, res) => {
    const { items } = check(Creation, req.body);
    const key = req.get('Idempotency-Key');
    const idempotencyKey = key === undefined ? `server-${randomUUID()}` : check(IdempotencyKey, key);
    const repeated = async () => {
      const order = await Order.findOne({ user: req.user.id, idempotencyKey });
      if (order && !sameItems(order, items)) {
        throw new HttpError(409, 'idempotency_key_reused', 'this Idempotency-Key was used for other items');
      }
      return order;
    };
    const earlier = await repeated();
    if (earlier) return res.json({ order: orderView(earlier) });

    const lines = await priced(items);
    const now = new Date();
    try {
      const order = await Order.create({
        user: req.user.id,
        idempotencyKey,
        items: lines,
        ...totalsOf(lines),
        history: [{ status: 'created', at: now, by: req.user.id }],
      });
      logger.info('order created', { order_id: String(order._id), total: order.total, request_id: req.id });
      return res.status(201).location(`/api/orders/${order._id}`).json({ order: orderView(order) });
    } catch (error) {
      if (!isDuplicateKey(error)) throw error;
      return res.json({ order: orderView(await repeated()) }); // the same request won the race
    }
  });

  router.get('/', async (req, res) => {
    const { limit, before } = check(Listing, req.query);
    const filter = { user: req.user.id, ...(before && { createdAt: { $lt: new Date(before) } }) };
    const orders = await Order.find(filter).sort({ createdAt: -1 }).limit(limit).lean();
    res.json({ orders: orders.map(orderView) });
  });

  router.get('/:id', async (req, res) => {
    res.json({ order: orderView(await visibleOrder(req)) });
  });

  router.post('/:id/status', async (req, res) => {
    const { status } = check(Move, req.body);
    const order = await visibleOrder(req);
    const who = TRANSITIONS[order.status][status];
    if (!who) throw new HttpError(409, 'wrong_status', `an order that is ${order.status} cannot become ${status}`);
    const roles = [req.user.role, ...(String(order.user) === req.user.id ? ['owner'] : [])];
    if (!roles.some((role) => who.includes(role))) throw new HttpError(403, 'not_allowed', 'you may not do that');
    const moved = await Order.findOneAndUpdate(
      { _id: order._id, status: order.status }, // lost against another change: nothing happens
      { $set: { status }, $push: { history: { status, at: new Date(), by: req.user.id } } },
      { new: true },
    );
    if (!moved) throw new HttpError(409, 'wrong_status', 'the order was changed in the meantime, look again');
    logger.info('order moved', { order_id: String(moved._id), status, request_id: req.id });
    res.json({ order: orderView(moved) });
  });

  return router;
}
