// The annotate page: shows the image in hand, turns keys and clicks into answers, hands these to the outbox.
import { call, NoAnswer, Refused } from "./api.js";
import { answerName, clock, flag, sentence, showFigures } from "./card.js";
import { Combobox, thumb } from "./combobox.js";
import { Hand } from "./hand.js";
import { Keys } from "./keys.js";
import { wireKeySheet } from "./keysheet.js";
import { NamingCheck } from "./naming.js";
import * as news from "./news.js";
import { randomId } from "./outbox.js";
import { SessionCounts } from "./session.js";
import { outbox } from "./shell.js";
import { Viewer } from "./viewer.js";
import { decimals, grouped, say } from "./words.js";

const root = document.getElementById("main");
const { api } = root.dataset;
const part = (selector) => root.querySelector(selector);

const keys = new Keys();
const viewer = new Viewer(part("[data-viewer]"));
const box = new Combobox(root);
const hand = new Hand(api);
const session = new SessionCounts(api);
const naming = new NamingCheck(document.getElementById("naming"));
wireKeySheet(keys);

const ANSWER_WAIT_MS = 4000; // how long a new name waits for its check before work goes on without it
const LIVE_POLL_MS = 250;
const LIVE_POLLS = 40;
const DONE_SHOWN = 4;
const WARN_SECONDS = 60;

let shown = null; // the card on show
let followed = null; // the category whose way into the model is told
let isBusy = false; // a new name is being checked
let lastActivity = 0;
const done = []; // answers of this page, newest last: {entry, card, what, verdict}

// ---- What the page shows ----

function showCard() {
  const card = hand.current;
  showCounts();
  showFilm();
  if (card === shown) {
    if (!card) showNothing();
    return;
  }
  shown = card;
  if (!card) return showNothing();
  const { task } = card;
  part("[data-flag]").replaceChildren(flag(task.flag));
  part("[data-reason]").replaceChildren(...sentence(task.reason));
  viewer.show(task.image);
  part("[data-batch]").textContent = task.image.batch_name ?? "";
  part("[data-file]").textContent = task.image.name;
  showFigures(task.scores);
  box.reset(task.suggestions, say(box.categories.size ? "not_near" : "no_category"));
  showHold();
}

function showNothing() {
  part("[data-flag]").replaceChildren();
  part("[data-reason]").replaceChildren();
  for (const name of ["batch", "file", "hold"]) part(`[data-${name}]`).textContent = "";
  showFigures(null);
  box.reset([], "");
  if (isSignedOut()) viewer.showNothing(say("signed_out"), say("signed_out_text"));
  else if (hand.refusal) viewer.showNothing(say("failed"), hand.refusal.message);
  else if (hand.away) viewer.showNothing(say("away"), say("cannot_reach"));
  else if (hand.isDry) {
    const values = { mine: grouped(session.labelled), held: grouped(hand.heldByOthers) };
    viewer.showNothing(say("nothing"), say(hand.heldByOthers ? "nothing_held" : "nothing_text", values));
  }
}

function showCounts() {
  const parts = [say("labelled", { count: grouped(session.labelled) })];
  if (session.fresh) parts.push(say("fresh", { count: grouped(session.fresh) }));
  if (session.skipped) parts.push(say("skipped", { count: grouped(session.skipped) }));
  const left = hand.waiting + hand.cards.length;
  part("[data-session]").textContent = parts.join(" · ");
  part("[data-left]").textContent = say("left", { count: grouped(left) });
  part("[data-progress]").max = Math.max(1, session.labelled + left);
  part("[data-progress]").value = session.labelled;
  const waiting = document.querySelector("[data-waiting]");
  if (hand.cards.length || !hand.away) waiting.textContent = grouped(left);
}

function showFilm() {
  const film = done.slice(-DONE_SHOWN).reverse().map(({ card, what }) => {
    const place = document.createElement("span");
    place.append(thumb(card.task.image.thumb_url, "thumb thumb-small"), what);
    return place;
  });
  part("[data-done]").replaceChildren(...film);
  const reserve = hand.cards.slice(1).map(({ task }) => task.image);
  const next = [...reserve, ...hand.upcoming].slice(0, 3);
  part("[data-next]").replaceChildren(...next.map((image) => thumb(image.thumb_url, "thumb thumb-small")));
  part("[data-next]").dataset.next = reserve.length; // so many can be answered without a network
}

function showPick() {
  const entry = box.picked;
  const typed = box.typed;
  part(".verdict-known").classList.toggle("ready", Boolean(entry?.category));
  part(".verdict-new").classList.toggle("ready", Boolean(entry && !entry.category));
  hint("known", entry?.category?.name);
  hint("new", typed && !entry?.category ? typed : "");
}

function hint(act, text) {
  const place = part(`[data-hint="${act}"]`);
  place.textContent = text || place.dataset.empty;
}

function showHold() {
  if (!shown) return;
  const left = hand.secondsLeft(shown);
  part("[data-hold]").textContent = left > 0 ? say("hold", { time: clock(left) }) : say("hold_over");
  const isEnding = left > 0 && left < Math.min(WARN_SECONDS, shown.fullTime / 3);
  // Once every 5 s: it is read aloud.
  if (isEnding && news.isTold("hold") && left % 5) return;
  if (isEnding) news.tell("hold", "clock", "", say("hold_ends", { time: clock(left) }));
  else news.clear("hold");
}

const isSignedOut = () => outbox.signedOut || hand.refusal?.status === 401;

function showConnection() {
  const kept = outbox.waiting().length;
  if (isSignedOut()) {
    const href = `/login?next=${encodeURIComponent(location.pathname)}`;
    news.tell("connection", "lock", say("signed_out"), say("signed_out_text"), { kind: "fail", alert: true, actions: [{ text: say("sign_in"), href }] });
  } else if (hand.refusal) {
    news.tell("connection", "lock", say("failed"), hand.refusal.message, { kind: "fail", alert: true });
  } else if (outbox.away || hand.away) {
    news.tell("connection", "offline", say("offline"), say(hand.cards.length ? "offline_text" : "offline_full", { count: kept, ready: hand.cards.length }), { kind: "new" });
  } else news.clear("connection");
}

// ---- Answers ----

// Keep the answer, show the next card. A new name alone waits for its check.
async function answer(verdict, { category, name, ...more } = {}, card = shown) {
  if (isBusy || !card) return;
  const { task } = card;
  const isSkip = verdict === "SKIP";
  const body = isSkip ? { token: task.token } : { token: task.token, verdict, category_id: category?.category_id, name, ...more };
  const what = answerName(verdict, category?.name ?? name);
  const url = `${api}/queue/${task.id}/${isSkip ? "skip" : "submit"}`;
  const { entry, settled } = outbox.add({ url, body, card, what, verdict, name });
  const act = { entry, card, what, verdict };
  if (verdict === "NEW") {
    isBusy = true;
    const result = await Promise.race([settled, after(ANSWER_WAIT_MS, { state: "kept" })]);
    isBusy = false;
    if (result.state === "refused") return refusedOnShow(entry, result.error);
    finish(act);
    report(entry, result);
  } else {
    finish(act);
    settled.then((result) => report(entry, result));
  }
}

const after = (delay, value) => new Promise((resolve) => { setTimeout(resolve, delay, value); });

function finish(act) {
  done.push(act);
  news.clear("failed");
  session.add(act.verdict, 1);
  news.goOn();
  if (document.activeElement === box.input) box.input.blur(); // back to single keys
  hand.putDown(act.card);
}

function report(entry, result) {
  if (result.state === "second-opinion") {
    news.tell("second", "clock", say("hold_lost"), say("hold_lost_text", { what: entry.what }), { kind: "new", alert: true });
  } else if (result.state === "sent" && result.data?.category) followCategory(entry, result.data.category);
  else if (result.state === "kept") showConnection();
}

async function refusedOnShow(entry, error) {
  outbox.remove(entry.id);
  if (error.code === "name-check") return decideName(entry, error.details);
  news.tell("failed", "warn", say("failed"), error.message, { kind: "fail", alert: true });
}

async function decideName({ card, name, body }, check) {
  if (check.verdict === "same" && check.is_exact) return useName(card, check, check.candidates[0]);
  const decision = await naming.ask({ typed: name, ...check }, card.task.image.thumb_url);
  if (decision?.use) return useName(card, check, decision.use);
  if (decision?.different) {
    // With what was said before: the next question may be about other categories.
    const seen = check.candidates.map((candidate) => candidate.category_id);
    const differentFrom = [...new Set([...body.different_from ?? [], ...seen])];
    return answer("NEW", { name, different_from: differentFrom }, card);
  }
  if (shown !== card) putBack(card);
  if (decision?.rename) box.type(`${name} `);
  else box.type(name);
}

function useName(card, check, { category_id, name, alias_matched: alias }) {
  const remember = check.verdict === "typo" && !alias ? { remember_misspelling: check.typed } : {};
  return answer("KNOWN", { category: { category_id, name }, ...remember }, card);
}

function refusedHere() {
  return outbox.refused().find((entry) => entry.url.startsWith(api)) ?? null;
}

// An answer that was refused when it was no longer on show: told, with the choice that it needs.
function showRefused() {
  const entry = refusedHere();
  if (!entry) return news.clear("refused");
  const actions = [{ text: say("choose"), act: chooseRefused }, { text: say("drop"), act: dropRefused }];
  news.tell("refused", "warn", say("refused"), `${entry.what}. ${entry.refused.message}`, { kind: "fail", alert: true, actions });
}

function dropRefused() {
  const entry = refusedHere();
  if (entry) outbox.remove(entry.id);
  return entry;
}

function chooseRefused() {
  const entry = dropRefused();
  if (!entry) return;
  if (entry.refused.code === "name-check") decideName(entry, entry.refused.details);
  else putBack(entry.card);
}

function putBack(card) {
  if (hand.cards.includes(card)) return;
  hand.putInFront(card);
}

// Tell when a category can be recognised, and how many waiting images look like it by now.
async function followCategory(entry, { id, name, created }) {
  const typed = entry.verdict === "NEW" ? entry.name : null;
  if (typed && !created) {
    news.tell("live", "check", "", say("is_same", { typed, name, key: keys.keyOf("undo") }));
    return;
  }
  if (!created) return;
  followed = id;
  box.setCategories([{ id, name, aliases: [], count: 1 }]);
  news.tell("live", "new", name, say("learning"), { kind: "new" });
  try {
    await pollUntilLive(id, name);
  } catch (error) {
    if (!(error instanceof NoAnswer || error instanceof Refused)) throw error;
  }
}

async function pollUntilLive(id, name) {
  for (let poll = 0; poll < LIVE_POLLS; poll += 1) {
    await after(LIVE_POLL_MS);
    const category = await call("GET", `${api}/categories/${id}`);
    if (category.live_seconds == null) continue;
    box.setCategories([category]);
    hand.refresh();
    const seconds = category.live_seconds.toFixed(1);
    const waiting = category.waiting ?? 0;
    if (followed !== id) return;
    news.tell("live", "check", name, say(waiting ? "live_waiting" : "live", { seconds, count: grouped(waiting) }));
    if (waiting) return;
  }
}

async function undo() {
  const last = done.at(-1);
  if (last && outbox.takeBack(last.entry.id)) return undone(done.pop(), last.card);
  await outbox.flush();
  const holder = randomId();
  try {
    const { undone: withdrawn, task } = await call("POST", `${api}/queue/undo`, { holder });
    const index = done.findLastIndex(({ card }) => card.task.id === task.id);
    const act = index < 0 ? null : done.splice(index, 1)[0];
    const what = act?.what ?? answerName(withdrawn.verdict, withdrawn.category_name);
    undone({ what, verdict: act?.verdict ?? withdrawn.verdict }, hand.makeCard(task, holder));
  } catch (error) {
    const text = error instanceof NoAnswer ? say("undo_offline") : error instanceof Refused ? error.message : null;
    if (text === null) throw error;
    news.tell("undone", "info", "", text);
  }
}

function undone({ what, verdict }, card) {
  session.add(verdict, -1);
  hand.putInFront(card);
  news.tell("undone", "undo", say("undone", { what }), say("undone_text", { file: card.task.image.name }));
}

function sendPick() {
  const entry = box.picked;
  if (entry?.category) answer("KNOWN", { category: entry.category });
  else if (entry) answer("NEW", { name: box.typed });
}

// ---- Acts: what a key or a button does ----

const toggleSheet = (id) => document.getElementById(id).togglePopover();

const acts = {
  name: () => box.input.focus(),
  known: () => (box.picked?.category ? sendPick() : box.pickNumber(1)),
  new: () => {
    if (box.typed) return answer("NEW", { name: box.typed });
    box.input.focus();
  },
  "not-of-interest": () => answer("NOT_OF_INTEREST"),
  "cannot-tell": () => answer("CANNOT_TELL"),
  bad: () => answer("BAD_IMAGE"),
  skip: () => answer("SKIP"),
  undo,
  "zoom-in": () => viewer.zoomBy(1),
  "zoom-out": () => viewer.zoomBy(-1),
  fit: () => viewer.fit(),
  "reload-image": () => viewer.reload(),
  compare: () => viewer.compare(viewer.isComparing ? null : box.picked?.category ?? box.suggestions[0]),
  meaning: () => toggleSheet("measures"),
  keys: () => toggleSheet("all-keys"),
};
const REPEATABLE = new Set(["zoom-in", "zoom-out"]);

root.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  // The second click of a double click would answer the next image.
  if (!button || event.detail > 1 && !REPEATABLE.has(button.dataset.act)) return;
  if (!button.hasAttribute("popovertarget")) acts[button.dataset.act]();
});

function pickDigit(number, event) {
  if (event.repeat) return;
  const entry = box.pickNumber(number);
  if (entry?.category && keys.digitAnswers) answer("KNOWN", { category: entry.category });
}

keys.listen({
  act: (name, event) => {
    if (!event.repeat || REPEATABLE.has(name)) acts[name]();
  },
  release: (name) => {
    if (name === "compare") viewer.compare(null);
  },
  digit: pickDigit,
  enter: (event) => { if (!event.repeat) sendPick(); },
  arrow: (event) => {
    event.preventDefault();
    box.move(event.key === "ArrowDown" ? 1 : -1);
  },
});

box.input.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    box.move(event.key === "ArrowDown" ? 1 : -1);
  } else if (event.key === "Enter" && !event.isComposing && !event.repeat) {
    event.preventDefault();
    sendPick();
  }
});
box.addEventListener("pick", showPick);
box.addEventListener("open", sendPick);

for (const kind of ["keydown", "pointerdown", "pointermove"]) {
  addEventListener(kind, () => { lastActivity = performance.now(); }, { passive: true });
}

let seenActivity = 0;
setInterval(() => {
  showHold();
  if (lastActivity > seenActivity) {
    seenActivity = lastActivity;
    hand.renew();
  }
}, 1000);

hand.addEventListener("change", showCard);
hand.addEventListener("connection", showConnection);
hand.addEventListener("lost", () => news.tell("lost", "clock", "", say("hold_gone"), { kind: "new", alert: true }));
outbox.addEventListener("change", () => {
  showRefused();
  if (!isBusy) showConnection();
});

async function loadCategories() {
  const limit = 500;
  for (let offset = 0; ; offset += limit) {
    const { items } = await call("GET", `${api}/categories?limit=${limit}&offset=${offset}`);
    box.setCategories(items.filter((category) => category.status !== "RETIRED"));
    if (items.length < limit) return;
  }
}

viewer.clear();
loadCategories().catch((error) => {
  // Whoever may not read the names may not have an image either: the hand tells why.
  if (!(error instanceof NoAnswer || error instanceof Refused)) throw error;
});
await hand.fill();
showRefused();
