/** GET /api/menu: what can be ordered. */
import { Router } from 'express';

import { MenuItem } from '../models/menu-item.js';

export function menuRoutes() {
  const router = Router();
  router.get('/', async (_req, res) => {
    const items = await MenuItem.find({ available: true }).sort({ sku: 1 }).lean();
    res.json({ items: items.map(({ sku, name, price }) => ({ sku, name, price })) });
  });
  return router;
}
