/** What a new database's menu holds. Prices in paise. */
export const MENU = [
  ['masala-dosa', 'Masala dosa', 9000],
  ['idli-sambar', 'Idli sambar', 6000],
  ['veg-biryani', 'Vegetable biryani', 16000],
  ['chicken-biryani', 'Chicken biryani', 22000],
  ['paneer-tikka', 'Paneer tikka', 18500],
  ['chole-bhature', 'Chole bhature', 12000],
  ['rajma-chawal', 'Rajma chawal', 11000],
  ['pav-bhaji', 'Pav bhaji', 10500],
  ['samosa', 'Samosa', 2000],
  ['gulab-jamun', 'Gulab jamun', 5000],
  ['masala-chai', 'Masala chai', 2500],
  ['filter-coffee', 'Filter coffee', 3000],
].map(([sku, name, price]) => ({ sku, name, price, available: true }));
