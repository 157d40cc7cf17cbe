// Where data comes from: the server, or files beside an exported page. Here: getting it. Not here: showing it.
"use strict";
(() => {
  const G = window.Gallery;
  const isExport = document.documentElement.dataset.mode === "export";
  const waiting = new Map();

  // Files of an export call this, since a page that is opened from a file may load scripts and nothing else.
  const given = (window.GalleryData = window.GalleryData || { parts: {} });
  given.give = (name, value) => {
    given.parts[name] = value;
    waiting.get(name)?.(value);
  };

  function part(name, file) {
    if (name in given.parts) return Promise.resolve(given.parts[name]);
    return new Promise((resolve, reject) => {
      waiting.set(name, resolve);
      const script = G.make("script", { src: `data/${file}.js`, onerror: () => reject(new Error("is not there")) });
      document.head.append(script);
    });
  }

  async function ask(path) {
    const answer = await fetch(path);
    if (answer.ok) return answer.json();
    const told = answer.headers.get("content-type")?.includes("json") ? (await answer.json()).problem : "";
    throw new Error(told || "there is no such picture any more");
  }

  let tag = "";
  const live = {
    // null where nothing changed since the last time
    async overview() {
      const answer = await fetch("api/overview", { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
      if (answer.status === 304) return null;
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      tag = answer.headers.get("etag") || "";
      return answer.json();
    },
    tiles: (group) => ask(`api/groups/${group}`),
    details: (picture) => ask(`api/pictures/${picture}`),
    pictureAt: (picture) => `pictures/${picture.sha}`,
    thumbAt: (picture) => (picture.thumb ? `thumbs/${picture.sha}` : `pictures/${picture.sha}`),
  };
  const exported = {
    overview: async () => given.parts.overview,
    tiles: (group) => part(`tiles-${group}`, `tiles-${group}`),
    details: async (picture) => {
      const group = G.tiles.groupOf(picture);
      const all = group && (await part(`details-${group}`, `details-${group}`));
      if (!all || !all[picture]) throw new Error("there is no such picture here");
      return all[picture];
    },
    pictureAt: (picture) => `pictures/${picture.sha}.${picture.suffix}`,
    thumbAt: (picture) => (picture.thumb ? `thumbs/${picture.sha}.webp` : `pictures/${picture.sha}.${picture.suffix}`),
  };

  G.isLive = !isExport;
  G.isReadOnly = isExport || "readOnly" in document.documentElement.dataset;
  G.source = isExport ? exported : live;
})();
