(() => {
  "use strict";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("coral-mtl-theme"); } catch { /* a page opened as a file may have no storage */ }
  const apply = () => {
    root.dataset.theme = chosen ?? (system.matches ? "dark" : "light");
    dispatchEvent(new Event("theme"));
  };
  system.addEventListener("change", apply);
  addEventListener("beforeprint", () => { root.dataset.theme = "light"; dispatchEvent(new Event("theme")); });
  addEventListener("afterprint", apply);
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const name = () => { button.textContent = root.dataset.theme === "dark" ? "Light theme" : "Dark theme"; };
    button.hidden = false;
    addEventListener("theme", name);
    name();
    button.addEventListener("click", () => {
      chosen = root.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("coral-mtl-theme", chosen); } catch { /* as above */ }
      apply();
    });
  });
  apply();
})();
