// Runs before the page is painted: the chosen theme, or that of the system.
(() => {
  const key = "beam-serving-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem(key); } catch { return null; } };
  const apply = () => {
    document.documentElement.dataset.theme = stored() ?? (system.matches ? "dark" : "light");
    dispatchEvent(new Event("theme"));
  };
  system.addEventListener("change", apply);
  globalThis.toggleTheme = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem(key, next); } catch { /* the choice is not kept */ }
    document.documentElement.dataset.theme = next;
    dispatchEvent(new Event("theme"));
  };
  apply();
})();
