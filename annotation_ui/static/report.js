// The report on an upload: figures, progress, and a line per file. Lines that need a look come first in
// reach; beyond a few hundred the rest is left to the report of the batch.
import { grouped, say } from "./words.js";

const ROWS_SHOWN = 300;
const SYMBOLS = { STORED: "check", DUPLICATE: "copy", REFUSED: "warn", UNPACKING: "clock", UNPACKED: "check", SENT: "check", IGNORED: "info" };
const NEEDS_LOOK = new Set(["REFUSED"]);
const ANNOUNCE_MS = 5000;

export class Report {
  constructor(root) {
    this.root = root;
    this.part = (selector) => root.querySelector(selector);
    this.rows = this.part("[data-rows]");
    this.template = document.getElementById("row-template").content.firstElementChild;
    this.figures = { STORED: 0, DUPLICATE: 0, REFUSED: 0 };
    this.names = new Set();
    this.looks = 0;
    this.announcedAt = 0;
    root.addEventListener("click", (event) => {
      const show = event.target.closest("[data-show]");
      if (show) this.#show(show);
    });
  }

  has(name) { return this.names.has(name); }

  // What the service counts of the whole batch.
  count({ stored, duplicate, refused }) {
    this.#figure("STORED", stored);
    this.#figure("DUPLICATE", duplicate);
    this.#figure("REFUSED", refused);
  }

  open() { this.part("[data-report]").hidden = false; }

  name(text, address) {
    this.part("[data-title]").textContent = text;
    this.part("[data-see]").href = address;
    this.part("[data-see]").hidden = false;
  }

  alert(text) {
    const place = this.part("[data-alert]");
    if (place.textContent !== text) place.textContent = text;
    place.className = text ? "note note-fail" : "";
  }

  // A line for a file that waits.
  add(name, bytes) {
    const element = this.template.cloneNode(true);
    const [file, size] = element.children;
    file.textContent = name;
    size.textContent = fileSize(bytes);
    const line = { element, isShown: this.names.size < ROWS_SHOWN };
    this.#say(line, "clock", say("waiting"));
    if (line.isShown) this.rows.append(element);
    this.names.add(name);
    this.#more();
    return line;
  }

  sending(line) { this.#say(line, "upload", say("sending")); }

  unpacking(line, { done, total }) {
    const counted = total ? ` ${grouped(done)} / ${grouped(total)}` : "";
    this.#say(line, "clock", `${say("UNPACKING")}${counted}`);
  }

  // What became of the file. An item as the API gives it.
  settle(line, { outcome, message, notes = [] }) {
    if (outcome in this.figures) this.#figure(outcome, this.figures[outcome] + 1);
    const text = message || (notes.includes("extra-frames") ? say("extra") : "");
    this.#say(line, SYMBOLS[outcome], say(outcome), text);
    const needsLook = NEEDS_LOOK.has(outcome) || Boolean(text) && outcome === "STORED";
    line.element.classList.toggle("needs-look", needsLook);
    line.element.querySelector(".status").classList.toggle("status-fail", outcome === "REFUSED");
    if (!needsLook) return;
    this.looks += 1;
    this.part("[data-looks]").textContent = grouped(this.looks);
    // A line that needs a look is shown however long the list is.
    if (!line.isShown) this.rows.append(line.element);
    line.isShown = true;
  }

  paused(yes) {
    const button = this.part("[data-pause]");
    button.querySelector("span").textContent = yes ? button.dataset.resumeText : button.dataset.pauseText;
  }

  progress(sender) {
    const { done, total } = sender.files;
    this.part("[data-count]").textContent = say("files_done", { done: grouped(done), total: grouped(total) });
    this.part("[data-progress]").max = Math.max(1, sender.bytes.total);
    this.part("[data-progress]").value = sender.sentBytes;
    this.part("[data-rate]").textContent = rate(sender);
    this.part("[data-pause]").hidden = sender.left === 0;
    this.#figure("LEFT", sender.left);
    this.#announce(sender);
  }

  #announce({ left }) {
    const isDue = Date.now() - this.announcedAt > ANNOUNCE_MS;
    if (left > 0 && !isDue) return;
    this.announcedAt = Date.now();
    this.part("[data-status]").textContent = left ? this.part("[data-count]").textContent : say("done");
  }

  #figure(name, value) {
    this.figures[name] = value;
    this.part(`[data-figure="${name}"]`).textContent = grouped(value);
  }

  #say({ element }, symbol, text, small = "") {
    element.querySelector("use").setAttribute("href", `#i-${symbol}`);
    element.querySelector(".status > span").textContent = text;
    const note = element.querySelector("small");
    note.textContent = small;
    note.hidden = !small;
  }

  #more() {
    const hidden = this.names.size - ROWS_SHOWN;
    this.part("[data-more]").hidden = hidden <= 0;
    this.part("[data-more]").textContent = say("more", { count: grouped(hidden) });
  }

  #show(button) {
    for (const other of this.root.querySelectorAll("[data-show]")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    this.rows.classList.toggle("only-looks", button.dataset.show === "look");
  }
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

function fileSize(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} KB` : `${megabytes(bytes)} MB`;
}

function rate({ isPaused, left, bytes, sentBytes, startedAt }) {
  if (isPaused) return say("paused");
  if (!left || startedAt === null) return "";
  const perSecond = sentBytes / Math.max(0.5, (performance.now() - startedAt) / 1000);
  const seconds = Math.ceil((bytes.total - sentBytes) / Math.max(1, perSecond));
  const time = seconds < 90 ? say("seconds", { count: seconds }) : say("minutes", { count: Math.round(seconds / 60) });
  return say("rate", { sent: megabytes(sentBytes), size: megabytes(bytes.total), rate: megabytes(perSecond), left: time });
}
