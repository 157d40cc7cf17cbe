// The keyboard: a table of keys for the grid and one for the panel.
"use strict";
(() => {
  const G = window.Gallery;

  async function move(by) {
    const order = G.tiles.order();
    const at = order.findIndex((one) => one.tile.id === document.activeElement?.dataset?.id);
    const next = at < 0 ? order[0] : order[Math.max(0, Math.min(order.length - 1, at + by))];
    if (next) G.tiles.focus(next.tile.id);
  }

  // A row up or down: within a section by columns, beyond it the nearest column of the next one.
  function row(by) {
    const links = [...document.querySelectorAll("section:not([hidden]) .tile")];
    const now = document.activeElement?.closest?.(".tile");
    if (!now) return void move(0);
    const from = now.getBoundingClientRect();
    const isBeyond = (box) => (by > 0 ? box.top > from.top + 4 : box.top < from.top - 4);
    let best = null;
    for (const link of links) {
      const box = link.getBoundingClientRect();
      if (!isBeyond(box)) continue;
      const far = [Math.abs(box.top - from.top), Math.abs(box.left - from.left)];
      if (!best || far[0] < best.far[0] - 4 || (Math.abs(far[0] - best.far[0]) <= 4 && far[1] < best.far[1])) best = { link, far };
    }
    if (best) G.tiles.focus(best.link.dataset.id);
  }

  function openHelp() {
    if (!G.find("help").open) G.find("help").showModal();
  }

  const inGrid = {
    ArrowRight: () => move(1), ArrowLeft: () => move(-1), ArrowDown: () => row(1), ArrowUp: () => row(-1),
    "/": () => { G.find("search").focus(); G.find("search").select(); }, "?": openHelp,
  };
  const inPanel = { ArrowRight: () => G.panel.step(1), ArrowLeft: () => G.panel.step(-1), "?": openHelp };
  for (let number = 1; number <= 9; number += 1) inPanel[String(number)] = () => G.panel.showTake(number);
  for (const key of G.actions.keys) inPanel[key] = () => G.actions.run(key);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || G.find("help").open) return;
    const isTyping = event.target.matches("input, select, textarea");
    if (event.key === "Escape" && event.target.id === "search") { event.target.blur(); return; }
    if (isTyping) return;
    const act = (G.panel.isOpen() ? inPanel : inGrid)[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  G.find("help-button").addEventListener("click", openHelp);
})();
