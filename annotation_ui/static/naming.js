// The naming check: before a near-duplicate name is made, both names and their pictures are laid side by
// side and the person decides. Resolves to {use: candidate} | {different: true} | {rename: true} | null.
import { thumb } from "./combobox.js";
import { decimals, grouped, say } from "./words.js";

const PLOT_LEFT = 4;
const PLOT_WIDTH = 92;

export class NamingCheck {
  constructor(dialog) {
    this.dialog = dialog;
    dialog.addEventListener("click", (event) => {
      const outcome = event.target.closest("[data-outcome]")?.dataset.outcome;
      if (outcome) this.#end(outcome);
    });
    dialog.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() === "d" && !event.ctrlKey && !event.metaKey) this.#end("second");
    });
    dialog.addEventListener("close", () => this.#resolve(null)); // Esc
  }

  // `check` are the details of the service's answer, `imageUrl` the picture in question.
  ask(check, imageUrl) {
    this.check = check;
    this.#part("[data-own]").src = imageUrl;
    this.#show(check.candidates[0]);
    this.dialog.showModal();
    this.#part('[data-outcome="first"]').focus();
    return new Promise((resolve) => { this.resolve = resolve; });
  }

  #part(selector) { return this.dialog.querySelector(selector); }

  #write(selector, text) { this.#part(selector).textContent = text; }

  #end(outcome) {
    const isHomonym = this.check.verdict === "homonym";
    const use = { use: this.candidate };
    const answers = isHomonym ? { first: { rename: true }, second: use } : { first: use, second: { different: true } };
    this.#resolve(answers[outcome] ?? null);
    this.dialog.close();
  }

  #resolve(answer) {
    this.resolve?.(answer);
    this.resolve = null;
  }

  #show(candidate) {
    this.candidate = candidate;
    const { verdict, typed } = this.check;
    const { name } = candidate;
    const isNear = candidate.picture_distance != null && candidate.picture_distance <= candidate.usual_limit;
    this.#write("[data-kind]", say(`check_${verdict}`));
    this.#write("#naming-title", say(`title_${verdict}`, { name }));
    this.#write("#naming-text", say(verdict === "typo" && isNear ? "text_typo_near" : `text_${verdict}`, { typed, name }));
    this.#part("[data-typed]").replaceChildren(...marked(typed, candidate.marks?.typed));
    this.#part("[data-name]").replaceChildren(...marked(candidate.alias_matched ?? name, candidate.marks?.other));
    this.#write("[data-in-use]", candidate.count === 1 ? say("in_use_one") : say("in_use", { count: grouped(candidate.count) }));
    this.#write("[data-alias]", candidate.alias_matched ? say("matched_alias", { alias: candidate.alias_matched }) : "");
    this.#write("[data-text-note]", candidate.text_note ?? "");
    const distance = decimals(candidate.picture_distance);
    this.#write("[data-picture-note]", candidate.picture_distance == null ? say("no_picture") : say("from_centre", { distance }));
    const exemplars = (candidate.exemplar_urls ?? []).slice(0, 3);
    this.#part("[data-exemplars]").replaceChildren(...exemplars.map((url, index) => thumb(url, "", `${name} ${index + 1}`)));
    this.#plot(candidate);
    this.#outcomes(candidate);
    this.#others(candidate);
  }

  #outcomes({ name, alias_matched: alias }) {
    const { verdict, typed } = this.check;
    const own = [say("own_name"), say("own_name_text", { typed })];
    const remember = verdict === "typo" && !alias ? say("use_remember", { typed }) : say("use_alias", { name });
    const use = [say("use", { name }), remember];
    const different = [say("different"), say("different_text", { typed })];
    const [first, second] = verdict === "homonym" ? [own, [use[0], say("use_alias", { name })]] : [use, different];
    this.#write("[data-first]", first[0]);
    this.#write("[data-first-text]", first[1]);
    this.#write("[data-second]", second[0]);
    this.#write("[data-second-text]", second[1]);
    // The very same name cannot stand for two categories.
    this.#part('[data-outcome="second"]').hidden = verdict === "same" && this.check.is_exact;
  }

  #others(shown) {
    const buttons = this.check.candidates.filter((candidate) => candidate !== shown).slice(0, 3).map((candidate) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "btn btn-quiet";
      button.textContent = say("or_is_it", { name: candidate.name });
      button.addEventListener("click", () => this.#show(candidate));
      return button;
    });
    this.#part("[data-others]").replaceChildren(...buttons);
  }

  #plot({ name, picture_distance: distance, usual_limit: limit }) {
    this.#part("[data-plot-part]").hidden = distance == null || limit == null;
    if (distance == null || limit == null) return;
    const next = this.check.next_nearest;
    const longest = 1.15 * Math.max(distance, limit, next?.distance ?? 0);
    const at = (value) => `${(PLOT_LEFT + PLOT_WIDTH * value / longest).toFixed(1)}%`;
    const place = (selector, value) => this.#part(selector).setAttribute("x", at(value));
    this.#write("[data-plot-title]", say("plot_title", { name }));
    this.#part("[data-plot]").setAttribute("aria-label", say("plot_label", { name, distance: decimals(distance), limit: decimals(limit) }));
    this.#part(".band").setAttribute("width", `${(PLOT_WIDTH * limit / longest).toFixed(1)}%`);
    for (const end of ["x1", "x2"]) this.#part("[data-limit]").setAttribute(end, at(limit));
    place("[data-limit-text]", limit);
    place("[data-this]", distance);
    place("[data-this-text]", distance);
    this.#write("[data-this-text]", say("this_image", { distance: decimals(distance) }));
    this.#write("[data-limit-text]", say("limit", { limit: decimals(limit) }));
    // Two labels on one spot cannot be read: the next category gives way.
    const isClear = next && Math.abs(next.distance - limit) / longest > 0.2;
    this.#part("[data-next-mark]").setAttribute("visibility", next ? "visible" : "hidden");
    if (next) place("[data-next-mark]", next.distance);
    if (isClear) place("[data-next-text]", next.distance);
    this.#write("[data-next-text]", isClear ? `${next.name} ${decimals(next.distance)}` : "");
  }
}

// The text as nodes, the ranges [from, to) in <mark>.
function marked(text, ranges = []) {
  const letters = [...text];
  const nodes = [];
  let at = 0;
  for (const [from, to] of ranges) {
    nodes.push(letters.slice(at, from).join(""));
    const mark = document.createElement("mark");
    mark.textContent = letters.slice(from, to).join("");
    nodes.push(mark);
    at = to;
  }
  nodes.push(letters.slice(at).join(""));
  return nodes;
}
