// The slot above the verdicts: one piece of news at a time, its place reserved so that nothing jumps.
// News is polite (role=status), loss is not (role=alert). What matters most is shown; the others wait
// behind it, so that no loss is covered up by a smaller thing.
const ORDER = ["failed", "refused", "second", "lost", "undone", "connection", "hold", "live"];
const LASTING = new Set(["refused", "connection", "hold"]); // these end with their cause
const SEEN_MS = 2000;

const slots = {
  status: document.querySelector("[data-news-status]"),
  alert: document.querySelector("[data-news-alert]"),
};
const template = document.getElementById("note-template");
const pieces = new Map(); // topic → {words, note, slot, seenSince}
let shown = null;

// Tell a piece of news; another on the same topic replaces it, the same words stay as they are.
export function tell(topic, icon, strong, text = "", { kind = "", alert = false, actions = [] } = {}) {
  const words = `${strong} ${text}`;
  if (pieces.get(topic)?.words === words) return;
  const note = template.content.firstElementChild.cloneNode(true);
  if (kind) note.classList.add(`note-${kind}`);
  note.querySelector("use").setAttribute("href", `#i-${icon}`);
  note.querySelector("strong").textContent = strong;
  note.querySelector("span").textContent = text;
  if (actions.length) note.append(row(actions));
  pieces.set(topic, { words, note, slot: alert ? slots.alert : slots.status, seenSince: null });
  show();
}

export function clear(topic) {
  if (pieces.delete(topic)) show();
}

// The person has gone on: what they had time to read goes, unless its cause lasts.
export function goOn() {
  const now = performance.now();
  for (const [topic, { seenSince }] of pieces) {
    if (!LASTING.has(topic) && seenSince !== null && now - seenSince > SEEN_MS) pieces.delete(topic);
  }
  show();
}

export const isTold = (topic) => pieces.has(topic);

function show() {
  const piece = pieces.get(ORDER.find((topic) => pieces.has(topic))) ?? null;
  if (piece === shown) return;
  shown = piece;
  for (const slot of Object.values(slots)) slot.replaceChildren();
  if (!piece) return;
  piece.slot.append(piece.note);
  piece.seenSince ??= performance.now();
}

function row(actions) {
  const place = document.createElement("div");
  place.className = "row";
  for (const { text, href, act } of actions) {
    const button = document.createElement(href ? "a" : "button");
    button.className = "btn";
    button.textContent = text;
    if (href) button.href = href;
    else {
      button.type = "button";
      button.addEventListener("click", act);
    }
    place.append(button);
  }
  return place;
}
