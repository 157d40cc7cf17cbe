// The page's life: first look, then asking again every moment for what changed; theme; what is told to a reader.
"use strict";
(() => {
  const G = window.Gallery;
  const ASK_MS = 700, HIDDEN_MS = 5000, LOST_MS = 3000;
  let overview = null;
  let lost = "";
  const root = document.documentElement;

  function tell() {
    if (!overview) return;
    const order = G.tiles.order().length;
    const all = overview.groups.reduce((sum, group) => sum + group.expected, 0);
    const counts = {};
    for (const group of overview.groups)
      for (const [state, number] of Object.entries(group.counts)) counts[state] = (counts[state] || 0) + number;
    const lefts = overview.groups.filter((group) => group.to_render);
    const isKnown = lefts.every((group) => group.seconds_left !== null);
    const left = lefts.length === 0 ? "" : isKnown ? `about ${G.duration(lefts.reduce((sum, group) => sum + group.seconds_left, 0))} of rendering left` : "time left unknown";
    const parts = Object.entries(counts).filter(([, number]) => number).map(([state, number]) => `${number} ${state}`);
    const shown = G.filters.isOn() ? [`${order} shown of ${all}`] : [G.count(all, "picture")];
    const said = [...shown, ...parts, left].filter(Boolean).join(" · ");
    if (G.find("told").textContent !== said) G.find("told").textContent = said;
    const isEmpty = G.filters.isOn() && order === 0;
    G.find("nothing").hidden = !isEmpty;
    if (!overview.groups.length) { G.find("nothing").hidden = false; G.find("nothing").textContent = "There is no world with pictures yet."; }
  }

  function showNotices() {
    const rendering = overview?.rendering ? [`Rendering now: ${overview.rendering}`] : [];
    const said = [...(lost ? [lost] : []), ...rendering, ...(overview?.notices || [])];
    const list = G.find("notices");
    if (list.dataset.said === JSON.stringify(said)) return;
    list.dataset.said = JSON.stringify(said);
    list.replaceChildren(...said.map((one) => G.make("li", {}, one)));
    list.hidden = !said.length;
  }

  async function look() {
    try {
      const told = await G.source.overview();
      lost = "";
      if (told) {
        const isFirst = !overview;
        overview = told;
        G.tiles.update(told.groups);
        G.filters.makeControls(told);
        tell();
        if (isFirst) await G.panel.follow();
        else await G.panel.refresh(G.tiles.order());
        G.actions.update(told.jobs || []); // after what came of them is shown
      }
    } catch (error) {
      lost = "The gallery has ended, or cannot be reached. What was there last is shown.";
    }
    showNotices();
  }

  async function goOn() {
    await look();
    setTimeout(goOn, lost ? LOST_MS : document.hidden ? HIDDEN_MS : ASK_MS);
  }

  function listenToTheme() {
    const kept = (() => { try { return localStorage.getItem("gallery-theme"); } catch { return null; } })();
    if (kept) root.dataset.theme = kept;
    G.find("theme").addEventListener("click", () => {
      const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = isDark ? "light" : "dark";
      try { localStorage.setItem("gallery-theme", root.dataset.theme); } catch { /* it lasts until the page is closed */ }
    });
  }

  listenToTheme();
  G.filters.listen();
  G.tiles.whenChanged(tell);
  G.isLive ? goOn() : look();
})();
