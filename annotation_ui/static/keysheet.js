// The sheet that lists all keys and changes them.
import { keyName } from "./keys.js";
import { say } from "./words.js";

export function wireKeySheet(keys) {
  const sheet = document.querySelector("[data-keysheet]");
  const news = sheet.querySelector("[data-key-news]");
  const digits = sheet.querySelector("[data-digit-answers]");
  const titleOf = (act) => sheet.querySelector(`[data-change="${act}"]`).closest("div").querySelector("dd").textContent;
  let changing = null;

  function stop(text = "") {
    changing?.removeAttribute("data-listening");
    changing = null;
    news.textContent = text;
  }

  sheet.addEventListener("click", (event) => {
    const button = event.target.closest("[data-change]");
    if (!button) return;
    stop();
    changing = button;
    changing.setAttribute("data-listening", "");
    news.textContent = say("press_key");
  });

  // In the capture phase and stopped there: while a new key is awaited, no key does anything else.
  sheet.addEventListener("keydown", (event) => {
    if (!changing || event.key === "Shift" || event.key === "Tab") return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Escape") return stop();
    const act = changing.dataset.change;
    const holder = keys.assign(act, event.key);
    if (holder === null) return stop(say("key_set", { key: keyName(event.key) }));
    const taken = holder ? titleOf(holder) : keyName(event.key);
    news.textContent = say("key_taken", { key: keyName(event.key), act: taken });
  }, true);

  sheet.addEventListener("toggle", () => stop());
  sheet.querySelector("[data-keys-reset]").addEventListener("click", () => { keys.reset(); stop(); });
  digits.checked = keys.digitAnswers;
  digits.addEventListener("change", () => keys.setDigitAnswers(digits.checked));
}
