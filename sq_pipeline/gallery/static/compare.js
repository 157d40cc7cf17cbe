// Two pictures in one place, with a line between them that can be moved. Here: the slider only.
"use strict";
(() => {
  const G = window.Gallery;

  // `choices`: {label, w, h, sha, …}, at least one. Returns the element, and how to choose for its sides.
  function makeCompare(choices) {
    const left = G.make("img", { alt: "" });
    const right = G.make("img", { alt: "", className: "over" });
    const line = G.make("span", { className: "line", "aria-hidden": "true" });
    const range = G.make("input", { type: "range", min: 0, max: 100, value: 50, step: 1, className: "slider",
      "aria-label": "How much of the left picture is shown", oninput: move });
    const stage = G.make("div", { className: "stage" }, left, right, line, range);
    const sides = { left: choose("Left"), right: choose("Right") };
    const controls = G.make("div", { className: "sides" }, sides.left.label, sides.right.label);
    const element = G.make("div", { className: "compare" }, stage, controls);

    function choose(name) {
      const select = G.make("select", { onchange: show }, ...choices.map((choice, at) => G.make("option", { value: at }, choice.label)));
      return { select, label: G.make("label", {}, `${name} `, select) };
    }

    function move() {
      const at = Number(range.value);
      right.style.clipPath = `inset(0 0 0 ${at}%)`;
      line.style.left = `${at}%`;
      range.setAttribute("aria-valuetext", `${at} % of the left picture`);
    }

    function show() {
      const [a, b] = [choices[sides.left.select.value], choices[sides.right.select.value]];
      const isOne = a === b;
      for (const [image, choice] of [[left, a], [right, b]]) {
        const address = G.source.pictureAt(choice);
        if (image.getAttribute("src") !== address) image.src = address;
        image.alt = choice.label;
      }
      right.hidden = line.hidden = range.hidden = isOne;
      element.classList.toggle("one", isOne);
      fit();
      move();
    }

    function fit() {
      const a = choices[sides.left.select.value], b = choices[sides.right.select.value];
      const room = Math.max(120, element.clientWidth || 320);
      const most = Math.max(180, Math.min(window.innerHeight * 0.6, 900));
      const [width, height] = G.fitPicture(left, a.w, a.h, room, most);
      stage.style.width = `${width}px`;
      stage.style.height = `${height}px`;
      right.style.width = `${width}px`;
      right.style.height = `${height}px`;
      right.classList.toggle("pixels", b.w <= width && b.h <= height);
    }

    controls.hidden = choices.length < 2;
    sides.left.select.value = String(Math.min(1, choices.length - 1));
    sides.right.select.value = "0";
    show();
    return {
      element, fit,
      chosen: () => [choices[sides.left.select.value].key, choices[sides.right.select.value].key],
      choose(side, key) {
        const at = choices.findIndex((choice) => choice.key === key);
        if (at < 0) return false;
        sides[side].select.value = String(at);
        show();
        return true;
      },
    };
  }

  G.makeCompare = makeCompare;
})();
