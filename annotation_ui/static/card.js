// What one image in hand shows around itself: its flag, the reason, the figures.
import { decimals, say } from "./words.js";

const SYMBOLS = { known: "known", uncertain: "uncertain", new: "new", unscored: "clock" };

export function flag(kind) {
  const element = document.createElement("span");
  element.className = `flag flag-${kind}`;
  const icon = document.querySelector("svg.icon").cloneNode(true);
  icon.firstElementChild.setAttribute("href", `#i-${SYMBOLS[kind]}`);
  element.append(icon, say(kind));
  return element;
}

// The reason as nodes, the category's name in bold so that the eye finds it.
export function sentence({ sentence: text, nearest_name: name }) {
  const at = name ? text.indexOf(name) : -1;
  if (at < 0) return [text];
  const strong = document.createElement("strong");
  strong.textContent = name;
  return [text.slice(0, at), strong, text.slice(at + name.length)];
}

export function showFigures(scores) {
  document.querySelector("[data-figures]").hidden = !scores;
  for (const place of document.querySelectorAll("[data-figure]")) {
    place.textContent = scores ? decimals(scores[place.dataset.figure]) : "–";
  }
  const scoredBy = scores && say("scored_by", { version: scores.version_number, revision: scores.memory_revision });
  document.querySelector("[data-scored-by]").textContent = scoredBy ?? "–";
}

const WORDS = { NOT_OF_INTEREST: "not_of_interest", CANNOT_TELL: "cannot_tell", BAD_IMAGE: "bad_image", SKIP: "skip" };

// What an answer is called in messages: the category's name, else the verdict.
export const answerName = (verdict, name) => name ?? say(WORDS[verdict] ?? "skip");

export const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
