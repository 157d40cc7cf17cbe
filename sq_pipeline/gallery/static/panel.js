// All about one picture, in a dialog. Its address is `#/genre/world/tier/slug`, so that it can be linked to.
"use strict";
(() => {
  const G = window.Gallery;
  const panel = G.find("panel");
  let open = null; // {tile, group, details, compare}

  G.addressOf = (group, tile) => `#/${[group.genre, group.world, group.tier, tile.slug].map(encodeURIComponent).join("/")}`;

  const term = (name, ...value) => (value.flat().some((one) => one !== null && one !== undefined && one !== "")
    ? [G.make("dt", {}, name), G.make("dd", {}, ...value)] : []);
  const section = (name, ...inside) => (inside.flat().length ? [G.make("section", {}, G.make("h3", {}, name), ...inside)] : []);
  const list = (values) => (values.length ? [G.make("ul", {}, ...values.map((one) => G.make("li", {}, one)))] : []);
  const when = (at) => (at ? new Date(at).toLocaleString() : "");

  function choicesOf(details) {
    const versions = details.versions.map((version, at) => ({ ...version, key: `v-${version.sha}`,
      label: version.labels.join(", ") || `version ${at + 1}${version.at ? ` of ${when(version.at)}` : ""}` }));
    const takes = details.takes.map((take) => ({ ...take, key: `t-${take.number}`,
      label: `take ${take.number}${take.seed === null ? "" : `, seed ${take.seed}`}${take.before.length ? ", of before" : ""}` }));
    const known = details.picture && !versions.some((one) => one.sha === details.picture.sha)
      ? [{ ...details.picture, key: `v-${details.picture.sha}`, label: "what is there" }] : [];
    return [...known, ...versions, ...takes];
  }

  function tokenBars(prompt) {
    return prompt.tokens.map((one) => {
      const isOver = one.tokens > one.budget;
      const bar = G.make("meter", { min: 0, max: one.budget, high: one.budget * 0.9, value: Math.min(one.tokens, one.budget),
        "aria-label": `${one.encoder}: ${one.tokens} of ${one.budget} tokens` });
      const note = isOver ? ` – reads the first ${one.budget} only` : "";
      return G.make("p", { className: isOver ? "tokens over" : "tokens" }, bar, ` ${one.encoder}: ${one.tokens} of ${one.budget} tokens${note}`);
    });
  }

  function promptPart(prompt) {
    if (prompt.faults.length) return section("Prompt", ...list(prompt.faults));
    const dropped = prompt.dropped.length
      ? [G.make("p", { className: "dropped" }, "Left out to fit: ", G.make("del", {}, prompt.dropped.join(", ")))] : [];
    const negative = prompt.negative ? [G.make("p", {}, G.make("b", {}, "Not: "), prompt.negative)] : [];
    return section("Prompt", G.make("p", { className: "prompt" }, prompt.positive), ...negative, ...tokenBars(prompt), ...dropped);
  }

  function choicePart(details) {
    const otherwise = details.otherwise.length
      ? [G.make("p", {}, "It would be made again because:"), ...list(details.otherwise)] : [];
    return section("What was chosen", ...list(details.choices.map((choice) => choice.told)), ...otherwise);
  }

  function whyPart(details) {
    const chain = details.chain.length ? [G.make("p", {}, "Led there by:"), G.make("ol", { className: "chain" },
      ...details.chain.map((asset) => G.make("li", {}, G.make("code", {}, asset))))] : [];
    const inside = [...list(details.reasons), ...chain];
    return inside.length ? section(`Why it is ${details.state}`, ...inside) : [];
  }

  function stackPart(details) {
    const rows = details.stack.map((one) => `${one.name} at ${one.lora_scale}`);
    return section("Stack", ...(rows.length ? [G.make("ol", {}, ...rows.map((row) => G.make("li", {}, row)))] : [G.make("p", {}, "no adapter")]),
      ...list(details.stack_reasons));
  }

  function madePart(details) {
    const { made, settings, prompt } = details;
    const asked = [
      ...term("Seed", prompt.seed === undefined ? "" : `${prompt.seed}${prompt.own_seed ? ` (the entry says ${prompt.own_seed})` : ""}`),
      ...term("Size", settings.size_px), ...term("Steps", settings.num_inference_steps), ...term("Guidance", settings.guidance),
      ...term("Base model", settings.base_model), ...term("Place", G.make("code", {}, details.place)),
      ...term("Written in", G.make("code", {}, details.written_in)), ...term("Region", details.region), ...term("Type", details.kind)];
    if (!made) return section("How it is made", G.make("dl", {}, ...asked));
    const engine = Object.entries(made.engine).map(([name, version]) => `${name} ${version}`).join(", ");
    const stack = made.adapters.map((one) => `${one.name} at ${one.lora_scale}, ${one.keys_matched} of ${one.keys_total} keys`).join("; ");
    return [...section("How it is made", G.make("dl", {}, ...asked)), ...section("What made the picture that is there", G.make("dl", {},
      ...term("Seed", made.seed), ...term("Base model", made.base_model), ...term("Adapters", stack),
      ...term("Took", made.elapsed_s === null ? "" : `${made.elapsed_s} s, ${made.rendered_by || ""}`), ...term("Engine", engine), ...term("Chip", made.chip),
      ...term("File", G.make("code", {}, made.sha256)), ...term("Fingerprint", G.make("code", {}, made.fingerprint))))];
  }

  function takesPart(details) {
    if (!details.takes.length) return [];
    return section("Takes", G.make("ul", { className: "takes", role: "list" }, ...details.takes.map((take) => {
      const image = G.make("img", { loading: "lazy", alt: "", width: take.w, height: take.h, src: G.source.thumbAt(take) });
      G.fitPicture(image, take.w, take.h, 160, 160);
      return G.make("li", {}, G.make("button", { type: "button", "aria-label": `Compare with take ${take.number}`,
        onclick: () => showTake(take.number) }, image, G.make("span", {}, `take ${take.number}`)),
        take.before.length ? G.make("p", { className: "before" }, `of before: ${take.before.join("; ")}`) : null,
        G.isReadOnly ? null : G.make("button", { type: "button", "aria-label": `Pick take ${take.number}`, disabled: take.before.length > 0,
          onclick: () => G.actions.pick(take.number) }, "Pick"));
    })));
  }

  function versionsPart(details) {
    const rows = details.versions.filter((one) => one.labels.length || one.differs.length || one.at).map((one) => G.make("li", {},
      G.make("b", {}, one.labels.join(", ") || "before"), one.at ? ` of ${when(one.at)}` : "",
      one.seed === null ? "" : `, seed ${one.seed}`, putBack(one), ...list(one.differs)));
    return rows.length > 1 ? section("Versions, and what would be otherwise now", G.make("ul", { className: "versions" }, ...rows)) : [];
  }

  function putBack(version) {
    const isThere = version.labels.includes("in the game");
    return G.isReadOnly || isThere ? null : G.make("button", { type: "button", className: "small",
      "aria-label": `Put version ${version.version.slice(0, 12)} back`, onclick: () => G.actions.restore(version.version) }, "Put back");
  }

  function draw() {
    const { tile, group, details } = open;
    const kept = open.compare?.chosen();
    const choices = choicesOf(details);
    open.compare = choices.length ? G.makeCompare(choices) : null;
    const scroll = panel.scrollTop;
    const focused = panel.contains(document.activeElement) ? document.activeElement : null;
    const label = focused?.getAttribute("aria-label");
    panel.replaceChildren(
      G.make("header", {},
        G.make("div", {}, G.make("h2", { id: "panel-name", tabIndex: -1 }, tile.name, " ", G.make("span", { className: `badge state-${details.state}` }, details.state)),
          G.make("p", {}, `${group.genre} / ${group.world} · ${group.tier}`)),
        G.make("nav", { "aria-label": "Pictures" },
          G.make("button", { type: "button", "aria-label": "The picture before", onclick: () => step(-1) }, "‹"),
          G.make("button", { type: "button", "aria-label": "The picture after", onclick: () => step(1) }, "›"),
          G.make("button", { type: "button", "aria-label": "Close", onclick: close }, "✕"))),
      open.compare ? open.compare.element : G.make("p", { className: "none" }, "There is no picture yet."),
      ...G.actions.partFor(details),
      ...takesPart(details), ...choicePart(details), ...whyPart(details), ...promptPart(details.prompt), ...stackPart(details), ...madePart(details), ...versionsPart(details));
    if (open.compare) {
      if (kept) { open.compare.choose("left", kept[0]); open.compare.choose("right", kept[1]); }
      open.compare.fit();
    }
    panel.scrollTop = scroll;
    if (focused && panel.contains(focused)) focused.focus();
    else if (label) panel.querySelector(`[aria-label="${CSS.escape(label)}"]`)?.focus();
  }

  async function show(tile, group) {
    open = { tile, group, details: null, compare: null };
    const mine = open;
    try {
      const details = await G.source.details(tile.id);
      if (open !== mine) return;
      open.details = details;
      draw();
    } catch (error) {
      if (open !== mine) return;
      panel.replaceChildren(G.make("h2", { id: "panel-name" }, tile.name), G.make("p", {}, `It cannot be shown: ${error.message}.`),
        G.make("button", { type: "button", onclick: close }, "Close"));
    }
    if (!panel.open) panel.showModal();
    open.compare?.fit();
    panel.scrollTop = 0;
    G.find("panel-name")?.focus();
  }

  // What changed meanwhile is drawn anew in place.
  async function refresh(order) {
    if (!open?.details) return;
    const mine = open;
    const now = order.find((one) => one.tile.id === open.tile.id);
    try {
      const details = await G.source.details(open.tile.id);
      if (open !== mine || JSON.stringify(details) === JSON.stringify(open.details)) return;
      if (now) Object.assign(open, now);
      open.details = details;
      draw();
    } catch { /* it is gone; what is shown stays until it is closed */ }
  }

  function close() {
    if (location.hash.startsWith("#/")) history.pushState(null, "", location.pathname + location.search);
    hide();
  }

  function hide() {
    const id = open?.tile.id;
    open = null;
    if (panel.open) panel.close();
    if (id) G.tiles.focus(id);
  }

  async function step(by) {
    const order = G.tiles.order();
    const at = order.findIndex((one) => one.tile.id === open?.tile.id);
    const next = order[at + by];
    if (at >= 0 && next) location.hash = G.addressOf(next.group, next.tile).slice(1);
  }

  function showTake(number) {
    const isThere = Boolean(open?.compare?.choose("right", `t-${number}`));
    if (isThere && open.details.picture) open.compare.choose("left", `v-${open.details.picture.sha}`);
    if (isThere && !G.isReadOnly) G.actions.tellTake(number);
    return isThere;
  }

  // The number of the take on the right, or else on the left; null where there is none.
  function takeShown() {
    const [left, right] = open?.compare?.chosen() || [];
    const found = [right, left].find((key) => key?.startsWith("t-"));
    return found ? Number(found.slice(2)) : null;
  }

  // The panel is what the address says.
  async function follow() {
    if (!location.hash.startsWith("#/")) return open ? hide() : undefined;
    let wanted;
    try { wanted = location.hash.slice(2).split("/").map(decodeURIComponent); } catch { return undefined; }
    const [genre, world, tier, slug] = wanted;
    const isIt = ({ tile, group }) => group.genre === genre && group.world === world && group.tier === tier && tile.slug === slug;
    const found = G.tiles.order().find(isIt) || (await G.tiles.everything()).find(isIt);
    if (found && open?.tile.id !== found.tile.id) await show(found.tile, found.group);
    return undefined;
  }

  panel.addEventListener("cancel", (event) => { event.preventDefault(); close(); });
  panel.addEventListener("click", (event) => { if (event.target === panel) close(); });
  window.addEventListener("hashchange", follow);
  window.addEventListener("popstate", follow);
  window.addEventListener("resize", () => open?.compare?.fit());

  G.panel = { follow, refresh, close, step, showTake, takeShown, isOpen: () => panel.open };
})();
