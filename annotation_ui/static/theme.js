// The theme follows the system until the switch is pressed; the choice is kept on this device.
// Loaded before the first paint and therefore no module.
(() => {
  const root = document.documentElement;
  root.dataset.scripted = ""; // controls that only a page without a script needs can go
  const KEY = "newfound.theme";

  try {
    const saved = localStorage.getItem(KEY);
    if (saved === "light" || saved === "dark") root.dataset.theme = saved;
  } catch { /* storage is closed to us: the system's theme stays */ }

  const isDark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;

  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem(KEY, root.dataset.theme); } catch { /* lasts for this page only */ }
  });
})();
