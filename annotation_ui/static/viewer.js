// The large image: shown, enlarged, moved, compared with an exemplar.
import { say } from "./words.js";

const STEP = 1.5;
const LARGEST = 8;

export class Viewer {
  constructor(root) {
    this.root = root;
    this.frame = root.querySelector("[data-frame]");
    this.picture = root.querySelector("[data-picture]");
    this.other = root.querySelector("[data-other]");
    this.tools = root.querySelector("[data-tools]");
    this.nothing = root.querySelector("[data-nothing]");
    this.broken = root.querySelector("[data-broken]");
    this.compareButton = root.querySelector('[data-act="compare"]');
    this.zoom = 1;
    this.picture.addEventListener("error", () => this.#fail());
    this.picture.addEventListener("load", () => { this.broken.hidden = true; });
    this.frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.frame.addEventListener("pointerdown", (event) => this.#drag(event));
  }

  show(image) {
    this.image = image;
    this.fit();
    this.compare(null);
    this.nothing.hidden = this.broken.hidden = true;
    this.picture.hidden = this.tools.hidden = false;
    this.picture.width = image.width;
    this.picture.height = image.height;
    this.picture.alt = image.name;
    this.picture.src = image.display_url;
  }

  showNothing(title, text) {
    this.image = null;
    this.picture.hidden = this.tools.hidden = this.broken.hidden = true;
    this.picture.removeAttribute("src");
    this.compare(null);
    this.nothing.hidden = false;
    this.nothing.querySelector("[data-nothing-title]").textContent = title;
    this.nothing.querySelector("[data-nothing-text]").textContent = text;
  }

  clear() {
    this.picture.hidden = this.tools.hidden = this.nothing.hidden = this.broken.hidden = true;
  }

  reload() {
    if (!this.image) return;
    this.picture.hidden = false;
    this.picture.src = `${this.image.display_url}${this.image.display_url.includes("?") ? "&" : "?"}again=${Date.now()}`;
  }

  zoomBy(steps) { this.#zoomTo(this.zoom * STEP ** steps); }

  fit() { this.#zoomTo(1); }

  // Lay `category`'s exemplar beside the image; null takes it away.
  compare(category) {
    const url = category?.exemplar_url;
    this.other.hidden = !url;
    this.root.classList.toggle("comparing", Boolean(url));
    this.compareButton.setAttribute("aria-pressed", String(Boolean(url)));
    if (!url) return;
    this.other.querySelector("img").src = url;
    this.other.querySelector("figcaption").textContent = category.name;
  }

  get isComparing() { return !this.other.hidden; }

  #zoomTo(zoom) {
    const { frame } = this;
    const before = this.zoom;
    this.zoom = Math.min(Math.max(zoom, 1), LARGEST);
    const middle = [frame.scrollLeft + frame.clientWidth / 2, frame.scrollTop + frame.clientHeight / 2];
    frame.classList.toggle("zoomed", this.zoom > 1);
    this.picture.style.setProperty("--zoom", this.zoom);
    const factor = this.zoom / before;
    frame.scrollLeft = middle[0] * factor - frame.clientWidth / 2;
    frame.scrollTop = middle[1] * factor - frame.clientHeight / 2;
  }

  #wheel(event) {
    if (!event.ctrlKey && this.zoom === 1 && event.deltaY > 0) return;
    event.preventDefault();
    this.zoomBy(event.deltaY < 0 ? 0.5 : -0.5);
  }

  #drag(event) {
    if (this.zoom === 1 || event.pointerType === "touch") return;
    event.preventDefault();
    const { frame } = this;
    const start = [frame.scrollLeft + event.clientX, frame.scrollTop + event.clientY];
    const move = (moved) => {
      frame.scrollLeft = start[0] - moved.clientX;
      frame.scrollTop = start[1] - moved.clientY;
    };
    const end = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", end);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", end);
  }

  #fail() {
    if (!this.image) return;
    this.picture.hidden = true;
    this.broken.hidden = false;
    this.broken.querySelector("[data-broken-text]").textContent = say("broken", { name: this.image.name });
  }
}
