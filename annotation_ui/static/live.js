// Keeps parts of a page up to date while work runs: fetches the page again and takes over the parts
// marked data-live that have changed. Without a script the page is simply reloaded by hand.
import { localTimes } from "./shell.js";

const BUSY_MS = 1200;
const IDLE_MS = 8000;
const ANNOUNCE_MS = 5000;

const news = document.querySelector("[data-live-news]");
let announcedAt = 0;

const parts = (root) => [...root.querySelectorAll("[data-live]")];
const isBusy = () => parts(document).some((part) => Number(part.dataset.busy) > 0);

function takeOver(fresh) {
  const wasBusy = isBusy();
  for (const part of parts(document)) {
    const renewed = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!renewed || renewed.outerHTML === part.lastHtml) continue;
    // Nothing moves under a person who is using the part; a grid is renewed only while it fills.
    const isUsed = part.contains(document.activeElement) || part.matches(":hover") && part.hasAttribute("data-live-when-busy");
    if (isUsed || part.hasAttribute("data-live-when-busy") && !wasBusy) continue;
    const html = renewed.outerHTML;
    part.replaceWith(renewed);
    renewed.lastHtml = html;
    localTimes(renewed);
  }
  announce(wasBusy);
}

function announce(wasBusy) {
  if (!news || Date.now() - announcedAt < ANNOUNCE_MS && isBusy()) return;
  const job = document.querySelector("[data-live] .job progress");
  const line = job?.closest(".job");
  const text = line ? line.textContent.replace(/\s+/g, " ").trim() : wasBusy ? document.querySelector("h1").textContent : "";
  if (text && text !== news.textContent) news.textContent = text;
  announcedAt = Date.now();
}

async function renew() {
  if (!document.hidden) {
    try {
      const response = await fetch(location.href, { headers: { accept: "text/html" } });
      if (response.ok && !response.redirected) {
        takeOver(new DOMParser().parseFromString(await response.text(), "text/html"));
      }
    } catch { /* the service is away: what is shown stays, the next round tries again */ }
  }
  setTimeout(renew, isBusy() ? BUSY_MS : IDLE_MS);
}

for (const part of parts(document)) part.lastHtml = part.outerHTML;
setTimeout(renew, isBusy() ? BUSY_MS : IDLE_MS);
