// Leads to the login once the session has ended. To look is no activity: it does not keep the session open.
(() => {
  const everyMs = 5000;
  const look = async () => {
    let answer;
    try {
      answer = await fetch("/access/session", { credentials: "same-origin", cache: "no-store" });
    } catch {
      return; // the server is away: Streamlit says so itself
    }
    if (answer.status === 401) {
      const wanted = location.pathname + location.search;
      location.assign("/access/login?next=" + encodeURIComponent(wanted));
    }
  };
  setInterval(look, everyMs);
  document.addEventListener("visibilitychange", () => document.hidden || look());
})();
