// Sends files in small requests, a few at a time. What a lost connection interrupts is sent again; the
// service stores the same bytes once.

const PARALLEL = 3;
const REQUEST_FILES = 16;
const REQUEST_BYTES = 8 * 1024 * 1024;
const RETRY_MS = [1000, 2000, 5000, 10_000];

export class Sender extends EventTarget {
  // Events: "sending" [entry], "answered" {entries, answer}, "refused" {entries, error}, "away", "progress".
  // `address` gives (a promise of) where files go; `requestBytes` is what the service takes at once.
  constructor({ address, requestBytes }) {
    super();
    this.address = address;
    this.chunkBytes = Math.min(REQUEST_BYTES, requestBytes);
    this.waiting = [];
    this.running = new Map(); // request → its entries
    this.isPaused = false;
    this.failures = 0;
    this.files = { done: 0, total: 0 };
    this.bytes = { done: 0, total: 0 };
    this.startedAt = null;
    addEventListener("online", () => this.#fill());
  }

  get left() { return this.files.total - this.files.done; }

  // Bytes that have left, those of requests under way included.
  get sentBytes() {
    return this.bytes.done + [...this.running.values()].reduce((sum, { loaded }) => sum + loaded, 0);
  }

  add(entries) {
    this.startedAt ??= performance.now();
    this.waiting.push(...entries);
    this.files.total += entries.length;
    this.bytes.total += size(entries);
    this.#progress();
    this.#fill();
  }

  pause(yes) {
    this.isPaused = yes;
    if (yes) for (const request of [...this.running.keys()]) request.abort();
    else this.#fill();
    this.#progress();
  }

  #fill() {
    clearTimeout(this.timer);
    while (!this.isPaused && this.waiting.length && this.running.size < PARALLEL) this.#send(this.#take());
  }

  #take() {
    let bytes = 0;
    let count = 0;
    for (const { file } of this.waiting) {
      if (count && (count >= REQUEST_FILES || bytes + file.size > this.chunkBytes)) break;
      bytes += file.size;
      count += 1;
    }
    return this.waiting.splice(0, count);
  }

  async #send(entries) {
    const request = new XMLHttpRequest(); // fetch tells nothing of how much has left
    const state = { loaded: 0 };
    this.running.set(request, state);
    this.#tell("sending", entries);
    try {
      request.open("POST", await this.address());
      const answer = await exchange(request, entries, (loaded) => {
        state.loaded = Math.min(loaded, size(entries));
        this.#progress();
      });
      this.running.delete(request);
      this.#answered(entries, answer);
    } catch (error) {
      this.running.delete(request);
      this.#again(entries, error);
    }
    this.#progress();
    if (!this.failures) this.#fill();
  }

  #answered(entries, { status, data }) {
    if (status === 0 || status >= 500 && status !== 507 || status === 429) return this.#again(entries);
    this.failures = 0;
    this.files.done += entries.length;
    this.bytes.done += size(entries);
    if (status < 400) this.#tell("answered", { entries, answer: data });
    else this.#tell("refused", { entries, error: data?.error ?? { message: `${status}` } });
  }

  // Back to the front of the line, after a pause unless the person paused.
  #again(entries, error) {
    this.waiting.unshift(...entries);
    if (this.isPaused) return;
    if (error?.status >= 400 && error.status < 500) { // the batch itself cannot be made
      this.waiting = [];
      this.files.done = this.files.total;
      this.#tell("refused", { entries, error });
      return;
    }
    const delay = RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)];
    this.#tell("away", null);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#fill(), delay);
  }

  #tell(kind, detail) { this.dispatchEvent(new CustomEvent(kind, { detail })); }

  #progress() { this.#tell("progress", null); }
}

const size = (entries) => entries.reduce((sum, { file }) => sum + file.size, 0);

function exchange(request, entries, onProgress) {
  const form = new FormData();
  for (const { name, file } of entries) form.append("files", file, name);
  return new Promise((resolve, reject) => {
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded));
    request.addEventListener("load", () => resolve({ status: request.status, data: parse(request.responseText) }));
    for (const kind of ["error", "abort", "timeout"]) request.addEventListener(kind, () => reject(new Error(kind)));
    request.send(form);
  });
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // an error page of something in between
  }
}
