// On every page of a signed-in person: sends labels that an earlier page could not, shows how many are
// kept, writes times in this device's time zone, sends filters when they change.
import { Outbox } from "./outbox.js";

export const outbox = new Outbox(document.body.dataset.user);

const sync = document.querySelector("[data-sync]");

function showSync() {
  const kept = outbox.waiting().length;
  const [choice] = outbox.refused();
  const refused = outbox.refused().length;
  const { dataset } = sync;
  const key = refused ? "refused" : kept ? "kept" : "sent";
  const text = dataset[refused === 1 || !refused && kept === 1 ? `${key}One` : key];
  sync.hidden = false;
  if (choice) sync.href = choice.page;
  else sync.removeAttribute("href");
  sync.classList.toggle("sync-held", kept + refused > 0 && (refused > 0 || outbox.away || outbox.signedOut));
  sync.querySelector("use").setAttribute("href", refused ? "#i-warn" : outbox.away && kept ? "#i-offline" : "#i-check");
  sync.querySelector("span").textContent = text.replace("{count}", String(refused || kept));
}

const HOUR = 3_600_000;

export function localTimes(root = document) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Date.now() - moment < HOUR) continue; // "4 min ago" holds everywhere
    const today = moment.toDateString() === new Date().toDateString();
    const clock = moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const day = moment.toLocaleDateString([], { day: "numeric", month: "short" });
    time.textContent = today ? clock : `${day} ${clock}`;
    time.title = moment.toLocaleString();
  }
}

// A choice acts at once; the button is for those without a script, and Enter still works.
document.addEventListener("change", (event) => {
  event.target.closest("form[data-submit-on-change]")?.requestSubmit();
});

localTimes();
outbox.addEventListener("change", showSync);
showSync();
outbox.flush();
