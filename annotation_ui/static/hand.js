// The images that this tab holds: the one on show and, where enough wait, a few behind it, so that the
// next image is there at once and work goes on for a while without a network.
//
// The service knows a hold by its holder: the same holder asking again gets the same image, so a reload
// keeps its card, while two tabs never get the same one.
import { call, NoAnswer, Refused } from "./api.js";
import { randomId } from "./outbox.js";

const RESERVE = 2;
const ENOUGH_WAITING = 12; // with fewer, a reserve would take from others what they could label
const HOLDER_KEY = "newfound.holder";
const RENEW_BELOW = 0.75; // of the hold's full time
const AWAY_MS = [1000, 2000, 4000, 8000];

export class Hand extends EventTarget {
  // Events: "change" (another card may be on show), "connection" (`away` or `refusal` has changed),
  // "lost" {card}.
  constructor(api) {
    super();
    this.api = api;
    this.cards = [];
    this.waiting = 0;
    this.heldByOthers = 0;
    this.upcoming = [];
    this.isDry = false; // the last claim found nothing
    this.decoded = new Map();
    this.away = false; // the service does not answer; it is asked again
    this.refusal = null; // it answered that we may have no image: signed out, no member any more
    this.filling = null;
    this.failures = 0;
    // Taken out while the page lives: a duplicated tab copies the storage and must not share the holder.
    this.firstHolder = sessionStorage.getItem(HOLDER_KEY + api);
    sessionStorage.removeItem(HOLDER_KEY + api);
    addEventListener("pagehide", () => this.#leave());
    addEventListener("online", () => this.fill());
  }

  get current() { return this.cards[0] ?? null; }

  // Claim until the hand is full or nothing more is to be had.
  fill() {
    clearTimeout(this.timer);
    this.filling ??= this.#fill().finally(() => { this.filling = null; });
    return this.filling;
  }

  // The answer to `card` is on its way: put it down, the next one is on show.
  putDown(card) {
    this.cards = this.cards.filter((other) => other !== card);
    this.#changed();
    this.fill();
  }

  // Show `card` again, in front of the others.
  putInFront(card) {
    this.cards.unshift(card);
    this.#changed();
  }

  makeCard(task, holder) {
    const now = performance.now();
    return { task, holder, fullTime: task.seconds_left, endsAt: now + 1000 * task.seconds_left };
  }

  secondsLeft(card) { return Math.max(0, Math.round((card.endsAt - performance.now()) / 1000)); }

  // Prolong every hold that has run for a while. A card that somebody else has by now is dropped.
  async renew() {
    for (const card of [...this.cards]) {
      if (this.secondsLeft(card) > RENEW_BELOW * card.fullTime) continue;
      try {
        const { seconds_left: left } = await call("POST", `${this.api}/queue/${card.task.id}/renew`, { token: card.task.token });
        card.endsAt = performance.now() + 1000 * left;
      } catch (error) {
        if (error instanceof NoAnswer) return;
        if (!(error instanceof Refused)) throw error;
        if (error.status === 401 || error.status === 403) return this.#failed(error);
        if (this.cards.includes(card)) this.#drop(card);
      }
    }
  }

  // Bring the cards behind the one on show up to date: a new category may be among their nearest by now.
  async refresh() {
    for (const card of this.cards.slice(1)) {
      try {
        const task = await call("GET", `${this.api}/queue/${card.task.id}`);
        Object.assign(card.task, { flag: task.flag, reason: task.reason, scores: task.scores, suggestions: task.suggestions });
      } catch (error) {
        if (!(error instanceof NoAnswer || error instanceof Refused)) throw error;
      }
    }
  }

  #drop(card) {
    const wasOnShow = card === this.current;
    this.putDown(card);
    if (wasOnShow) this.dispatchEvent(new CustomEvent("lost", { detail: card }));
  }

  async #fill() {
    while (this.cards.length === 0 || (this.cards.length <= RESERVE && this.waiting >= ENOUGH_WAITING)) {
      const holder = this.firstHolder ?? randomId();
      let claim;
      try {
        claim = await call("POST", `${this.api}/queue/claim`, { holder });
      } catch (error) {
        return this.#failed(error);
      }
      this.firstHolder = null;
      this.failures = 0;
      this.#connection(null);
      this.waiting = claim.waiting;
      this.heldByOthers = claim.held_by_others;
      this.upcoming = claim.upcoming ?? [];
      this.isDry = !claim.task;
      if (!claim.task) {
        if (this.cards.length === 0) this.timer = setTimeout(() => this.fill(), 5000);
        break;
      }
      this.cards.push(this.makeCard(claim.task, holder));
      this.#decode();
      if (this.cards.length === 1) this.#changed();
    }
    this.#changed();
  }

  #failed(error) {
    if (!(error instanceof NoAnswer) && !(error instanceof Refused)) throw error;
    this.#connection(error);
    if (this.away) {
      const delay = AWAY_MS[Math.min(this.failures++, AWAY_MS.length - 1)];
      this.timer = setTimeout(() => this.fill(), delay);
    }
    this.#changed();
  }

  #connection(error) {
    const isNews = error || this.away || this.refusal;
    this.away = error instanceof NoAnswer;
    this.refusal = error instanceof Refused ? error : null;
    if (isNews) this.dispatchEvent(new Event("connection"));
  }

  // Decode what is shown next before it is needed, and forget what was shown.
  #decode() {
    const wanted = [...this.cards.map(({ task }) => task.image.display_url), ...this.upcoming.map((next) => next.display_url)];
    for (const url of [...this.decoded.keys()]) if (!wanted.includes(url)) this.decoded.delete(url);
    for (const url of wanted) {
      if (this.decoded.has(url)) continue;
      const image = new Image();
      image.src = url;
      image.decode().catch(() => this.decoded.delete(url));
      this.decoded.set(url, image);
    }
  }

  #changed() { this.dispatchEvent(new Event("change")); }

  // The card on show stays ours for a reload; those behind it go back to the others at once.
  #leave() {
    if (this.current) sessionStorage.setItem(HOLDER_KEY + this.api, this.current.holder);
    for (const { task } of this.cards.slice(1)) {
      call("POST", `${this.api}/queue/${task.id}/release`, { token: task.token }, { keepalive: true }).catch(() => {});
    }
    this.cards.length = Math.min(this.cards.length, 1);
  }
}
