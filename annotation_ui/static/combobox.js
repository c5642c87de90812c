// The name field with its list: the nearest categories by picture, and while one types, all names in use.
// WAI-ARIA combobox with list box: the focus stays in the field, aria-activedescendant names the pick.
import { decimals, grouped, say } from "./words.js";

const LONGEST_LIST = 40;

// Names are compared without case, accents and extra spaces; what is stored is decided by the service.
export const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/\s+/g, " ").trim();

const hasWord = (text, start) => text.startsWith(start) || text.includes(` ${start}`) || text.includes(`-${start}`);

// How well a category fits what is typed, lower is better; Infinity: not at all.
function rank(category, typed) {
  let best = Infinity;
  category.folded.forEach((name, index) => {
    const alias = index > 0 ? 0.5 : 0;
    if (name === typed) best = Math.min(best, alias);
    else if (name.startsWith(typed)) best = Math.min(best, 1 + alias);
    else if (hasWord(name, typed)) best = Math.min(best, 2 + alias);
    else if (name.includes(typed)) best = Math.min(best, 3 + alias);
  });
  return best;
}

export class Combobox extends EventTarget {
  // Events: "pick" (the pick changed), "open" (an option was double-clicked or tapped again: answer it).
  constructor(root) {
    super();
    this.input = root.querySelector("#name");
    this.list = root.querySelector("#options");
    this.head = root.querySelector("[data-options-head]");
    this.title = root.querySelector("[data-options-title]");
    this.nothing = root.querySelector("[data-options-empty]");
    this.option = document.getElementById("option-template").content.firstElementChild;
    this.create = document.getElementById("option-create-template").content.firstElementChild;
    this.categories = new Map();
    this.suggestions = [];
    this.emptyText = "";
    this.input.addEventListener("input", () => this.#fill());
    this.list.addEventListener("click", (event) => this.#click(event));
    // A press on the list must not take the focus from the field.
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
  }

  get typed() { return this.input.value.trim(); }

  get picked() { return this.entries.find((entry) => entry.element.getAttribute("aria-selected") === "true") ?? null; }

  setCategories(categories) {
    for (const category of categories) {
      const aliases = category.aliases.map((alias) => alias.name);
      this.categories.set(category.id, { ...category, aliases, folded: [category.name, ...aliases].map(fold) });
    }
  }

  // A new card: its suggestions, an empty field, no pick. `emptyText` is shown when nothing is near.
  reset(suggestions, emptyText) {
    this.suggestions = suggestions;
    this.emptyText = emptyText;
    this.input.value = "";
    this.#fill();
  }

  type(text) {
    this.input.value = text;
    this.#fill();
    this.input.focus();
  }

  pickNumber(number) {
    const entry = this.entries[number - 1];
    if (entry) this.#pick(entry);
    return entry ?? null;
  }

  move(step) {
    const at = this.entries.indexOf(this.picked);
    const count = this.entries.length;
    if (count) this.#pick(this.entries[at < 0 ? (step > 0 ? 0 : count - 1) : (at + step + count) % count]);
  }

  #fill() {
    const typed = fold(this.typed);
    const found = typed ? this.#matches(typed) : this.suggestions;
    const isInUse = found.some((category) => category.folded?.includes(typed));
    const longest = 1.1 * Math.max(0, ...this.suggestions.flatMap((near) => [near.distance, near.usual_limit ?? 0]));
    this.entries = found.map((category, index) => this.#entry(category, index, longest));
    if (typed && !isInUse) this.entries.push(this.#createEntry());
    this.list.replaceChildren(...this.entries.map((entry) => entry.element));
    this.head.hidden = found.length === 0;
    this.title.textContent = typed ? say("matches") : say("nearest");
    this.nothing.hidden = this.entries.length > 0;
    this.nothing.textContent = this.emptyText;
    this.input.setAttribute("aria-expanded", String(this.entries.length > 0));
    this.#pick(typed ? this.entries[0] : null);
  }

  #matches(typed) {
    const ranked = [];
    for (const category of this.categories.values()) {
      const order = rank(category, typed);
      if (order < Infinity) ranked.push([order, category]);
    }
    ranked.sort(([a, first], [b, second]) => a - b || (second.count ?? 0) - (first.count ?? 0));
    const near = new Map(this.suggestions.map((suggestion) => [suggestion.category_id, suggestion]));
    return ranked.slice(0, LONGEST_LIST).map(([, { id, ...category }]) => ({ ...category, ...near.get(id), category_id: id }));
  }

  #entry(category, index, longest) {
    const element = this.option.cloneNode(true);
    element.id = `option-${index + 1}`;
    element.querySelector("kbd").textContent = index < 9 ? index + 1 : "";
    element.querySelector("strong").textContent = category.name;
    element.querySelector("small").textContent = describe(category);
    if (category.exemplar_url) element.querySelector(".thumb").replaceWith(thumb(category.exemplar_url, "thumb thumb-large"));
    const bar = element.querySelector(".bar");
    if (category.distance == null) bar.setAttribute("visibility", "hidden");
    else drawBar(bar, category, longest);
    element.querySelector(".num").textContent = category.distance == null ? "" : decimals(category.distance);
    return { element, category };
  }

  #createEntry() {
    const element = this.create.cloneNode(true);
    element.id = "option-new";
    element.querySelector("strong").textContent = this.typed;
    return { element, category: null };
  }

  #pick(entry) {
    for (const other of this.entries) other.element.setAttribute("aria-selected", String(other === entry));
    if (entry) {
      this.input.setAttribute("aria-activedescendant", entry.element.id);
      entry.element.scrollIntoView({ block: "nearest" });
    } else this.input.removeAttribute("aria-activedescendant");
    this.dispatchEvent(new Event("pick"));
  }

  #click(event) {
    const entry = this.entries.find(({ element }) => element.contains(event.target));
    if (!entry) return;
    if (entry === this.picked && event.detail > 1) this.dispatchEvent(new Event("open"));
    else this.#pick(entry);
  }
}

function describe({ count, aliases, status }) {
  const images = count === 1 ? say("image") : count ? say("images", { count: grouped(count) }) : say("no_image");
  return aliases?.length && status !== undefined ? `${images} · ${say("also", { names: aliases.join(", ") })}` : images;
}

export function thumb(url, className, alt = "") {
  const image = new Image(256, 256);
  image.className = className;
  image.alt = alt;
  image.src = url;
  return image;
}

function drawBar(bar, { distance, usual_limit: limit }, longest) {
  const share = (value) => `${(100 * Math.min(value / longest, 1)).toFixed(1)}%`;
  bar.querySelector(".fill-plain").setAttribute("width", share(distance));
  const tick = bar.querySelector(".tick");
  if (limit == null) tick.remove();
  else for (const end of ["x1", "x2"]) tick.setAttribute(end, share(limit));
  const label = limit == null ? "distance" : "distance_limit";
  bar.setAttribute("aria-label", say(label, { distance: decimals(distance), limit: decimals(limit) }));
}
