// Search and filters: by genre, world, tier and state. What they are is kept in the address of the page's tab.
"use strict";
(() => {
  const G = window.Gallery;
  const chosen = { search: "", genre: "", world: "", tier: "", states: new Set() };
  let made = ""; // what the controls were made from

  function options(select, all, values, value) {
    select.replaceChildren(G.make("option", { value: "" }, all), ...values.map((one) => G.make("option", { value: one }, one)));
    select.value = values.includes(value) ? value : "";
    select.hidden = values.length < 2;
    return select.value;
  }

  const unique = (values) => [...new Set(values)];

  function makeControls(overview) {
    const { groups } = overview;
    const counts = {};
    for (const group of groups)
      for (const [state, number] of Object.entries(group.counts)) counts[state] = (counts[state] || 0) + number;
    const said = JSON.stringify([groups.map((group) => [group.genre, group.world, group.tier]), counts]);
    if (said === made) return;
    made = said;
    chosen.genre = options(G.find("genre"), "all genres", unique(groups.map((group) => group.genre)), chosen.genre);
    makeWorlds();
    chosen.tier = options(G.find("tier"), "all tiers", unique(groups.map((group) => group.tier)), chosen.tier);
    const focused = document.activeElement?.dataset?.state;
    G.find("states").replaceChildren(...Object.keys(overview.states).filter((state) => counts[state] || chosen.states.has(state)).map((state) =>
      G.make("button", { type: "button", className: `chip state-${state}`, title: overview.states[state], "data-state": state,
        "aria-pressed": String(chosen.states.has(state)), onclick: (event) => toggle(state, event.currentTarget) },
        `${state} `, G.make("b", {}, String(counts[state] || 0)))));
    if (focused) G.find("states").querySelector(`[data-state="${focused}"]`)?.focus();
  }

  function makeWorlds() {
    const worlds = G.tiles.groups().filter((group) => !chosen.genre || group.genre === chosen.genre);
    chosen.world = options(G.find("world"), "all worlds", unique(worlds.map((group) => `${group.genre}/${group.world}`)), chosen.world);
  }

  function toggle(state, button) {
    chosen.states.has(state) ? chosen.states.delete(state) : chosen.states.add(state);
    button.setAttribute("aria-pressed", String(chosen.states.has(state)));
    apply();
  }

  const folded = (text) => text.toLocaleLowerCase().normalize("NFKD").replace(/\p{M}/gu, "");

  function isShown(tile, group) {
    if (chosen.states.size && !chosen.states.has(tile.state)) return false;
    if (!chosen.search) return true;
    const said = folded([tile.name, tile.slug, tile.region, tile.kind, tile.why, tile.picked, group.world, group.genre, tile.state].join("\n"));
    return folded(chosen.search).split(/\s+/).every((word) => said.includes(word));
  }

  function isGroupShown(group) {
    const holds = (!chosen.genre || group.genre === chosen.genre) && (!chosen.tier || group.tier === chosen.tier)
      && (!chosen.world || `${group.genre}/${group.world}` === chosen.world);
    return holds && (!chosen.states.size || !group.is_known || [...chosen.states].some((state) => group.counts[state]));
  }

  function apply() {
    G.tiles.apply({ isShown, isGroupShown, needsTiles: Boolean(chosen.search || chosen.states.size) });
  }

  function listen() {
    let pause = 0;
    G.find("search").addEventListener("input", (event) => {
      chosen.search = event.target.value.trim();
      clearTimeout(pause);
      pause = setTimeout(apply, 120);
    });
    for (const name of ["genre", "world", "tier"])
      G.find(name).addEventListener("change", (event) => {
        chosen[name] = event.target.value;
        if (name === "genre") makeWorlds();
        apply();
      });
  }

  G.filters = { makeControls, listen, apply, isOn: () => Boolean(chosen.search || chosen.genre || chosen.world || chosen.tier || chosen.states.size) };
})();
