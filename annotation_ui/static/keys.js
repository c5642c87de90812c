// One key per act; each can be changed and is kept on this device. Letters act only outside fields and
// while no sheet or dialog is open.
const STORAGE = "newfound.keys";

export const FIRST_SET = {
  name: "/", known: "k", new: "n", "not-of-interest": "x", "cannot-tell": "c",
  skip: "s", undo: "z", bad: "f",
  "zoom-in": "+", "zoom-out": "-", fit: "0", compare: "v", meaning: "m", keys: "?",
};

// Digits pick suggestions, the others have a fixed meaning.
const RESERVED = /^([1-9]|enter|escape|tab|arrow.*|shift|control|alt|meta| )$/;

export const keyName = (key) => (key.length === 1 ? key.toUpperCase() : key);

export class Keys {
  constructor() {
    this.map = { ...FIRST_SET, ...this.#load().map };
    this.digitAnswers = this.#load().digitAnswers ?? false;
    this.show();
  }

  keyOf(act) { return keyName(this.map[act]); }
  actOf(key) { return Object.keys(this.map).find((act) => this.map[act] === key.toLowerCase()); }

  // Give `act` the key. Returns null, or the name of the act that has it (or "" for a fixed key).
  assign(act, key) {
    const wanted = key.toLowerCase();
    if (RESERVED.test(wanted)) return "";
    const holder = this.actOf(wanted);
    if (holder && holder !== act) return holder;
    this.map[act] = wanted;
    this.#save();
    return null;
  }

  reset() {
    this.map = { ...FIRST_SET };
    this.#save();
  }

  setDigitAnswers(yes) {
    this.digitAnswers = yes;
    this.#save();
  }

  // Write the keys wherever the page names them.
  show() {
    for (const place of document.querySelectorAll("[data-key-of]")) {
      place.textContent = this.keyOf(place.dataset.keyOf);
    }
  }

  // Call `act(name, event)` for keys that are pressed, `release(name)` for those let go.
  listen({ act, release, digit, enter, arrow }) {
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isSheetOpen()) return;
      if (event.key === "Escape") return document.activeElement.blur();
      if (event.target.closest("input, textarea, select")) return;
      if (/^[1-9]$/.test(event.key)) return digit(Number(event.key), event);
      if (event.key === "Enter" && !event.target.closest("button, a")) return enter(event);
      if (event.key === "ArrowDown" || event.key === "ArrowUp") return arrow(event);
      const name = this.actOf(event.key);
      if (!name) return;
      event.preventDefault();
      act(name, event);
    });
    document.addEventListener("keyup", (event) => {
      const name = this.actOf(event.key);
      if (name) release(name);
    });
  }

  #load() {
    try {
      return JSON.parse(localStorage.getItem(STORAGE)) ?? {};
    } catch {
      return {};
    }
  }

  #save() {
    localStorage.setItem(STORAGE, JSON.stringify({ map: this.map, digitAnswers: this.digitAnswers }));
    this.show();
  }
}

export const isSheetOpen = () => document.querySelector("dialog[open], [popover]:popover-open") !== null;
