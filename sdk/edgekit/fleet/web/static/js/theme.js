// Runs before anything is painted: the theme that was chosen, or the system's.
(() => {
  const root = document.documentElement;
  const chosen = () => {
    try { return localStorage.getItem("edgekit-theme"); } catch { return null; }
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const name = chosen();
    root.dataset.theme = name === "dark" || name === "light" ? name : system.matches ? "dark" : "light";
    dispatchEvent(new Event("themechange"));
  };
  system.addEventListener("change", apply);
  globalThis.nextTheme = () => {
    const next = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("edgekit-theme", next); } catch { /* private windows may refuse */ }
    apply();
    return next;
  };
  apply();
})();
