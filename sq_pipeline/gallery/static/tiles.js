// The grid: a section for each tier of a world, its pictures loaded when it comes near, and let go when it is far.
"use strict";
(() => {
  const G = window.Gallery;
  const sections = new Map(); // by the group's id, in the order of the page
  const groupOfPicture = new Map();
  const TILE_HEIGHT = 236, GAP = 14; // as in gallery.css
  let isShown = () => true; // of a tile: the filters
  let isGroupShown = () => true;
  let onChange = () => {};

  const near = new IntersectionObserver(
    (entries) => entries.forEach((entry) => {
      const section = [...sections.values()].find((one) => one.element === entry.target);
      if (!section) return;
      section.isNear = entry.isIntersecting;
      entry.isIntersecting ? fill(section) : empty(section);
    }),
    { rootMargin: "900px 0px" },
  );

  // A lone tile is as wide as all others: columns follow from the room alone.
  function columns() {
    const width = G.find("pictures").clientWidth;
    const least = width < 480 ? 148 : 264;
    return Math.max(1, Math.floor((width + GAP) / (least + GAP)));
  }

  function shownTiles(section) {
    return section.tiles ? section.tiles.filter((tile) => isShown(tile, section.group)) : null;
  }

  function reserve(section) {
    const tiles = shownTiles(section);
    const rows = Math.ceil((tiles ? tiles.length : section.group.expected) / columns());
    section.list.style.minHeight = `${Math.max(0, rows * (TILE_HEIGHT + GAP) - GAP)}px`;
  }

  function makeTile(tile, group) {
    const image = tile.picture
      ? G.make("img", { loading: "lazy", decoding: "async", alt: "", width: tile.picture.w, height: tile.picture.h,
          src: G.source.thumbAt(tile.picture), onerror: (event) => event.target.closest(".frame")?.classList.add("lost") })
      : null;
    const frame = G.make("span", { className: image ? "frame" : "frame none" }, image);
    const why = [tile.state === "fresh" ? "" : tile.why || "", tile.picked || ""].filter(Boolean).join("; ");
    const link = G.make("a", { className: `tile state-${tile.state}`, href: G.addressOf(group, tile), title: why,
        "data-id": tile.id, tabIndex: -1, "aria-label": `${tile.name}, ${tile.state}${why ? `: ${why}` : ""}` },
      frame,
      G.make("span", { className: "name" }, tile.name),
      G.make("span", { className: "badge" }, tile.state),
      tile.picked ? G.make("span", { className: "mark" }, "picked") : null);
    return G.make("li", {}, link);
  }

  // Keeps the elements whose tile says the same, so that nothing flickers and the focus stays where it is.
  function fill(section) {
    if (!section.isNear && !section.isForced) return;
    if (!section.tiles) return void load(section);
    const wanted = shownTiles(section);
    const focused = document.activeElement?.dataset?.id;
    const before = section.made;
    section.made = new Map();
    const items = wanted.map((tile) => {
      const said = JSON.stringify(tile);
      const known = before.get(tile.id);
      const item = known && known.said === said ? known.item : makeTile(tile, section.group);
      section.made.set(tile.id, { said, item });
      return item;
    });
    section.list.replaceChildren(...items);
    reserve(section);
    fit(section);
    enter();
    if (focused && section.made.has(focused)) section.made.get(focused).item.firstChild.focus({ preventScroll: true });
  }

  function fit(section) {
    const frame = section.list.querySelector(".frame");
    if (!frame) return;
    const { clientWidth, clientHeight } = frame;
    for (const image of section.list.querySelectorAll("img"))
      G.fitPicture(image, +image.getAttribute("width"), +image.getAttribute("height"), clientWidth, clientHeight);
  }

  function empty(section) {
    if (!section.made.size || section.list.contains(document.activeElement)) return;
    reserve(section);
    section.made = new Map();
    section.list.replaceChildren();
  }

  async function load(section) {
    if (section.loading || !section.group.is_known) return section.loading;
    section.loading = G.source.tiles(section.group.id).then(
      (told) => {
        section.loading = null;
        section.tiles = told.tiles;
        section.revision = told.revision;
        for (const tile of told.tiles) groupOfPicture.set(tile.id, section.group.id);
        head(section);
        fill(section);
        onChange();
      },
      () => { section.loading = null; },
    );
    return section.loading;
  }

  function left(group) {
    if (!group.to_render) return "";
    const pictures = `${G.count(group.to_render, "picture")} to render`;
    return group.seconds_left === null ? `${pictures}, how long is unknown` : `${pictures}, about ${G.duration(group.seconds_left)}`;
  }

  function head(section) {
    const { group } = section;
    const counts = Object.entries(group.counts).map(([state, number]) =>
      G.make("span", { className: `count state-${state}` }, `${number} ${state}`));
    section.counts.replaceChildren(...(group.is_known ? counts : [G.make("span", {}, "looking …")]));
    const time = left(group);
    if (time) section.counts.append(G.make("span", { className: "left" }, time));
    section.faults.replaceChildren(...group.faults.map((fault) => G.make("li", {}, fault)));
    section.faults.hidden = !group.faults.length;
  }

  function makeSection(group) {
    const id = `group-${group.id}`;
    const tier = group.tier === "landscape" ? [] : [" · ", group.tier];
    const counts = G.make("p", { className: "counts" });
    const faults = G.make("ul", { className: "faults", hidden: true });
    const list = G.make("ul", { className: "grid", role: "list" });
    const title = G.make("h2", { id }, G.make("span", { className: "genre" }, group.genre, " / "), group.world, ...tier);
    const element = G.make("section", { "aria-labelledby": id }, title, counts, faults, list);
    return { group, element, counts, faults, list, tiles: null, made: new Map(), revision: "", isNear: false, loading: null };
  }

  // The groups as the overview tells them: new ones come, gone ones go, changed ones are asked for again if they are here.
  function update(groups) {
    const known = new Set(groups.map((group) => group.id));
    for (const [id, section] of [...sections]) {
      if (known.has(id)) continue;
      near.unobserve(section.element);
      section.element.remove();
      sections.delete(id);
    }
    const ordered = groups.map((group) => {
      let section = sections.get(group.id);
      if (!section) {
        section = makeSection(group);
        near.observe(section.element);
      }
      section.group = group;
      head(section);
      if (section.tiles && section.revision !== group.revision) {
        section.loading = null;
        load(section);
      } else if (!section.tiles && (section.isNear || section.isForced)) load(section);
      return [group.id, section];
    });
    const isSame = ordered.length === sections.size && [...sections.keys()].every((id, at) => id === ordered[at][0]);
    sections.clear();
    for (const [id, section] of ordered) sections.set(id, section);
    if (!isSame) G.find("pictures").replaceChildren(...ordered.map(([, section]) => section.element));
    apply();
  }

  // Show what the filters leave. What has to be looked at picture by picture is loaded first.
  async function apply(filters) {
    if (filters) ({ isShown, isGroupShown } = filters);
    const needsAll = Boolean(filters ? filters.needsTiles : apply.needsAll);
    apply.needsAll = needsAll;
    for (const section of sections.values()) {
      section.isForced = false;
      const isIn = isGroupShown(section.group);
      if (isIn && needsAll && !section.tiles) load(section);
      const tiles = shownTiles(section);
      section.element.hidden = !isIn || Boolean(tiles && needsAll && !tiles.length);
      if (section.element.hidden) continue;
      reserve(section);
      if (section.isNear) fill(section);
    }
    onChange();
  }

  const shown = () => [...sections.values()].filter((section) => !section.element.hidden);

  // Every picture that is shown and known, in the order of the page.
  const order = () => shown().flatMap((section) => (shownTiles(section) || []).map((tile) => ({ tile, group: section.group })));

  async function everything() {
    await Promise.all(shown().map((section) => section.tiles || load(section)));
    return order();
  }

  // One tile can be reached by Tab; from there the arrows lead.
  function enter() {
    const all = G.find("pictures");
    if (all.querySelector('.tile[tabindex="0"]')) return;
    const first = all.querySelector(".tile");
    if (first) first.tabIndex = 0;
  }

  function focus(id) {
    const section = sections.get(groupOfPicture.get(id));
    if (!section) return;
    section.isNear = true;
    if (!section.made.has(id)) fill(section);
    const item = section.made.get(id)?.item;
    if (!item) return;
    for (const other of document.querySelectorAll('.tile[tabindex="0"]')) other.tabIndex = -1;
    item.firstChild.tabIndex = 0;
    item.firstChild.focus();
    item.scrollIntoView({ block: "nearest" });
  }

  window.addEventListener("resize", () => {
    for (const section of sections.values()) {
      reserve(section);
      fit(section);
    }
  });

  G.tiles = {
    update, apply, order, everything, focus, columns,
    groupOf: (picture) => groupOfPicture.get(picture),
    groups: () => [...sections.values()].map((section) => section.group),
    whenChanged: (tell) => { onChange = tell; },
  };
})();
