// Answers that the service has not confirmed yet. Each is written down on this device before it is sent,
// so that neither a cut line nor a reload loses one. They leave in order, and since each carries the token
// of its hold, one that is sent twice is stored once.
//
// An entry: {id, tab, at, page, url, body, ...what its maker wants to know of it later}. One storage key per
// entry: two tabs that write at the same moment never overwrite each other.
import { call, NoAnswer, Refused } from "./api.js";

const TAB_KEY = "newfound.tab";
const ORPHAN_MS = 60_000; // older than this, another tab's entry is ours to send
const RETRY_MS = [1000, 2000, 4000, 8000, 15_000];

// crypto.randomUUID exists only where the page is served over TLS or from this machine.
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function tabId() {
  const id = sessionStorage.getItem(TAB_KEY) ?? randomId();
  sessionStorage.setItem(TAB_KEY, id);
  return id;
}

export class Outbox extends EventTarget {
  // Events: "change" (how many are kept or refused), "settled" {entry, result}.
  constructor(user) {
    super();
    this.prefix = `newfound.outbox.${user}.`;
    this.tab = tabId();
    this.sequence = 0;
    this.waitingFor = new Map(); // entry id → resolve of add()
    this.sendingId = null;
    this.running = null;
    this.failures = 0;
    this.away = false;
    this.signedOut = false;
    addEventListener("online", () => this.flush());
    addEventListener("storage", (event) => {
      if (event.key?.startsWith(this.prefix)) this.#changed();
    });
  }

  entries() {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(this.prefix)).sort();
    return keys.map((key) => JSON.parse(localStorage.getItem(key))).filter(Boolean);
  }

  waiting() { return this.entries().filter((entry) => !entry.refused); }
  refused() { return this.entries().filter((entry) => entry.refused); }

  // Keep `entry` and send it. Resolves once it is settled, or with {state: "kept"} when nobody answers.
  add(entry) {
    const at = Date.now();
    const order = `${at}`.padStart(15, "0") + `${this.sequence++}`.padStart(6, "0");
    const kept = { ...entry, page: location.pathname, id: `${order}.${randomId()}`, tab: this.tab, at };
    this.#write(kept);
    this.#changed();
    const settled = new Promise((resolve) => this.waitingFor.set(kept.id, resolve));
    this.flush();
    return { entry: kept, settled };
  }

  // Remove an entry. False when it is gone, or on its way at this moment.
  takeBack(id) {
    if (this.sendingId === id || localStorage.getItem(this.prefix + id) === null) return false;
    this.remove(id);
    return true;
  }

  remove(id) {
    localStorage.removeItem(this.prefix + id);
    this.waitingFor.delete(id);
    this.#changed();
  }

  // Send what waits, first in first out; one run at a time.
  flush() {
    clearTimeout(this.timer);
    this.running ??= this.#run().finally(() => { this.running = null; });
    return this.running;
  }

  async #run() {
    for (;;) {
      const next = this.waiting().find((entry) => this.#isOurs(entry));
      if (!next) break;
      this.sendingId = next.id;
      const result = await this.#send(next);
      this.sendingId = null;
      if (result.state === "kept") return this.#retryLater();
      this.failures = 0;
      this.away = this.signedOut = false;
      this.#settle(next, result);
    }
    // Another tab may have sent one of ours.
    const left = new Set(this.entries().map((entry) => entry.id));
    for (const [id, resolve] of this.waitingFor) {
      if (left.has(id)) continue;
      this.waitingFor.delete(id);
      resolve({ state: "sent", data: null });
    }
    this.#changed();
  }

  #isOurs(entry) { return entry.tab === this.tab || Date.now() - entry.at > ORPHAN_MS; }

  async #send(entry) {
    try {
      return { state: "sent", data: await call("POST", entry.url, entry.body) };
    } catch (error) {
      if (error instanceof NoAnswer) {
        this.away = true;
        return { state: "kept" };
      }
      if (!(error instanceof Refused)) throw error;
      if (error.status === 401) {
        this.signedOut = true;
        return { state: "kept" };
      }
      if (error.code === "hold-lost") return { state: "second-opinion", details: error.details };
      const { status, code, message, details } = error;
      return { state: "refused", error: { status, code, message, details } };
    }
  }

  #settle(entry, result) {
    if (result.state === "refused") this.#write({ ...entry, refused: result.error });
    else localStorage.removeItem(this.prefix + entry.id);
    this.#answer(entry.id, result);
    this.dispatchEvent(new CustomEvent("settled", { detail: { entry, result } }));
    this.#changed();
  }

  #retryLater() {
    const delay = RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)];
    for (const id of [...this.waitingFor.keys()]) this.#answer(id, { state: "kept" });
    this.#changed();
    if (!this.signedOut) this.timer = setTimeout(() => this.flush(), delay);
  }

  #answer(id, result) {
    this.waitingFor.get(id)?.(result);
    this.waitingFor.delete(id);
  }

  #write(entry) { localStorage.setItem(this.prefix + entry.id, JSON.stringify(entry)); }

  #changed() { this.dispatchEvent(new Event("change")); }
}
