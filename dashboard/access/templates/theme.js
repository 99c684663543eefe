// The theme that a person chose, before the page is drawn. Streamlit follows the system's: it asks here which one that is.
(() => {
  const QUERY = "(prefers-color-scheme: dark)";
  const KEPT = "tapewatch.theme";
  const system = window.matchMedia(QUERY);
  const ask = window.matchMedia.bind(window);
  let choice = localStorage.getItem(KEPT) ?? "system";

  class Scheme extends EventTarget {
    media = QUERY;
    get matches() { return choice === "system" ? system.matches : choice === "dark"; }
    addListener(listener) { this.addEventListener("change", listener); }
    removeListener(listener) { this.removeEventListener("change", listener); }
  }
  const scheme = new Scheme();
  const tell = () => {
    document.documentElement.dataset.theme = scheme.matches ? "dark" : "light";
    scheme.dispatchEvent(new Event("change"));
  };
  system.addEventListener("change", tell);
  window.matchMedia = (query) => (query.replaceAll(" ", "") === QUERY.replaceAll(" ", "") ? scheme : ask(query));
  // Streamlit's own menu keeps a theme too, which would go before ours.
  Object.keys(localStorage).filter((name) => name.startsWith("stActiveTheme")).forEach((name) => localStorage.removeItem(name));
  tell();

  // Called by the dashboard with what the account holds: `system`, `light` or `dark`.
  window.tapewatchTheme = (wanted) => {
    if (wanted === choice) return;
    choice = wanted;
    localStorage.setItem(KEPT, wanted);
    tell();
  };
})();
