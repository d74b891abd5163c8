/** Items written before they could be sold out are for sale. */
export default async function menuAvailable({ db, log }) {
  const { modifiedCount } = await db
    .collection('menuitems')
    .updateMany({ available: { $exists: false } }, { $set: { available: true } });
  log(`${modifiedCount} menu items are for sale now`);
}
