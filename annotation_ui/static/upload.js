// The upload page: files and folders are sent in many small requests, a few at a time, so that an
// interruption costs little. Each file gets its line as soon as the service has answered for it.
import { dropped, picked } from "./files.js";
import { Report } from "./report.js";
import { Sender } from "./sender.js";
import { call, NoAnswer, Refused } from "./api.js";
import { say } from "./words.js";

const root = document.querySelector("[data-upload]");
const { api, home, requestBytes } = root.dataset;
const report = new Report(root);
const drop = root.querySelector("[data-drop]");
const name = root.querySelector("#name");

const sender = new Sender({
  requestBytes: Number(requestBytes),
  address: () => openBatch().then((id) => `${api}/${id}/files`),
});

let batchId = root.dataset.batch || null;
let opening = null;
const sentBefore = new Map(); // name → size of what the report of this batch has already

// The batch is made when the first file is there, not before: a look at the page leaves no empty one.
function openBatch() {
  if (batchId) return Promise.resolve(batchId);
  opening ??= makeBatch().catch((error) => {
    opening = null;
    throw error;
  });
  return opening;
}

async function makeBatch() {
  const kind = root.querySelector('[name="kind"]:checked')?.value ?? "unlabelled";
  const batch = await call("POST", api, { name: name.value, kind });
  batchId = batch.id;
  name.value = batch.name;
  name.disabled = true;
  for (const choice of root.querySelectorAll('[name="kind"]')) choice.disabled = true;
  // A reload of the page goes on with this batch.
  history.replaceState(null, "", `?batch=${batchId}`);
  report.name(batch.name, `${home}/${batchId}`);
  return batchId;
}

async function loadSentBefore() {
  const limit = 1000;
  for (let offset = 0; ; offset += limit) {
    const { items } = await call("GET", `${api}/${batchId}/items?limit=${limit}&offset=${offset}`);
    for (const item of items) if (item.outcome !== "REFUSED") sentBefore.set(item.name, item.byte_size);
    if (items.length < limit) return;
  }
}

const ready = batchId ? loadSentBefore() : Promise.resolve();
if (batchId) report.name(name.value, `${home}/${batchId}`);

async function add(entries) {
  await ready.catch(() => {}); // then everything is sent and the service says what it had
  report.open();
  if (!entries.length) return report.alert(say("nothing"));
  const fresh = [];
  for (const entry of entries) {
    const line = report.add(entry.name, entry.file.size);
    if (sentBefore.get(entry.name) === entry.file.size) report.settle(line, { outcome: "SENT", message: say("sent_before") });
    else if (entry.file.size > Number(requestBytes)) {
      const limit = Math.floor(requestBytes / 1048576);
      report.settle(line, { outcome: "REFUSED", message: say("too_large", { limit }) });
    } else fresh.push({ ...entry, line });
  }
  sender.add(fresh);
}

sender.addEventListener("sending", ({ detail }) => { for (const { line } of detail) report.sending(line); });
sender.addEventListener("answered", ({ detail: { entries, answer } }) => {
  report.alert("");
  settle(entries, answer);
});
sender.addEventListener("away", () => report.alert(say("retry")));
sender.addEventListener("refused", ({ detail: { entries, error } }) => {
  for (const { line } of entries) report.settle(line, { outcome: "REFUSED", message: error.message });
  report.alert(say("refused", { message: error.message }));
});
sender.addEventListener("progress", () => report.progress(sender));

// The answer names files as they are stored, in the order in which they were sent, less those left out.
function settle(entries, { items, ignored }) {
  const left = [...items];
  for (const { line, name: sent } of entries) {
    const at = left.findIndex((item) => item.name === sent);
    const item = at >= 0 ? left.splice(at, 1)[0] : ignored.includes(sent) ? null : left.shift();
    report.settle(line, item ?? { outcome: "IGNORED", message: say("ignored") });
    if (item?.outcome === "UNPACKING") follow(line);
  }
}

// An archive is unpacked by the worker: its line follows the job until that has ended. Then the figures
// are those of the batch, and members that were refused get their lines.
async function follow(line) {
  try {
    for (;;) {
      const { jobs, counts } = await call("GET", `${api}/${batchId}`);
      const job = jobs.find(({ kind }) => kind === "INGEST");
      if (job?.state === "FAILED") return report.settle(line, { outcome: "REFUSED", message: job.error });
      if (!job) {
        report.settle(line, { outcome: "UNPACKED" });
        const { items } = await call("GET", `${api}/${batchId}/items?outcome=REFUSED&limit=1000`);
        for (const item of items) if (!report.has(item.name)) report.settle(report.add(item.name, item.byte_size), item);
        return report.count(counts);
      }
      report.unpacking(line, job);
      await new Promise((resolve) => { setTimeout(resolve, 1000); });
    }
  } catch (error) {
    if (!(error instanceof NoAnswer || error instanceof Refused)) throw error;
  }
}

for (const id of ["files", "folder"]) {
  root.querySelector(`#${id}`).addEventListener("change", (event) => {
    add(picked(event.target.files));
    event.target.value = "";
  });
}

for (const kind of ["dragover", "dragenter"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("dragging");
  });
}
addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("dragging"); });
addEventListener("drop", async (event) => {
  event.preventDefault();
  drop.classList.remove("dragging");
  add(await dropped(event.dataTransfer));
});

root.querySelector("[data-pause]").addEventListener("click", () => {
  sender.pause(!sender.isPaused);
  report.paused(sender.isPaused);
});

addEventListener("beforeunload", (event) => { if (sender.left > 0) event.preventDefault(); });
