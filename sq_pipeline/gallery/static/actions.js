// What a person can do with a picture. Each is {name, key, isFor(details), run(details)}; a read-only page has none.
"use strict";
(() => {
  const G = window.Gallery;
  const actions = [];

  function buttonsFor(details) {
    const offered = G.isReadOnly ? [] : actions.filter((action) => action.isFor(details));
    return offered.length
      ? [G.make("div", { className: "actions", role: "group", "aria-label": "Actions" }, ...offered.map((action) =>
          G.make("button", { type: "button", title: `( ${action.key} )`, onclick: () => action.run(details) }, action.name)))]
      : [];
  }

  G.actions = { buttonsFor };
})();
