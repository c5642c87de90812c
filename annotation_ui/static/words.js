// Words of a page's script come with the page, so that they go through the same catalogue.
const source = document.getElementById("words");
const words = source ? JSON.parse(source.textContent) : {};

// The text of `key` with its {placeholders} filled in.
export function say(key, values = {}) {
  return words[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

export const decimals = (value) => (value == null ? "–" : value.toFixed(2));
export const grouped = (count) => count.toLocaleString("en-US");
