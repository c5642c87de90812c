// The slot above the verdicts: one piece of news at a time, its place reserved so that nothing jumps.
// News is polite (role=status), loss is not (role=alert).
const slots = {
  status: document.querySelector("[data-news-status]"),
  alert: document.querySelector("[data-news-alert]"),
};
const template = document.getElementById("note-template");
let shown = null;

// `topic` lets a later call replace or clear exactly this piece.
export function tell(topic, icon, strong, text = "", { kind = "", alert = false, actions = [] } = {}) {
  const note = template.content.firstElementChild.cloneNode(true);
  if (kind) note.classList.add(`note-${kind}`);
  note.querySelector("use").setAttribute("href", `#i-${icon}`);
  note.querySelector("strong").textContent = strong;
  note.querySelector("span").textContent = text;
  if (actions.length) note.append(row(actions));
  slots[alert ? "status" : "alert"].replaceChildren();
  slots[alert ? "alert" : "status"].replaceChildren(note);
  shown = topic;
}

export function clear(topic) {
  if (topic !== undefined && topic !== shown) return;
  for (const slot of Object.values(slots)) slot.replaceChildren();
  shown = null;
}

export const isShown = (topic) => shown === topic;

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
