// Building parts of the page. Texts become text, never markup. Here: elements only.
"use strict";
window.Gallery = {};
(() => {
  const has = (value) => value !== undefined && value !== null && value !== false;

  // An element. `about`: properties; those with a dash, `role` and `for` are attributes. `inside`: texts and elements.
  function make(name, about = {}, ...inside) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(about)) {
      if (!has(value)) continue;
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (key.includes("-") || key === "role" || key === "for" || key === "list") element.setAttribute(key, value);
      else element[key] = value;
    }
    element.append(...inside.flat().filter(has));
    return element;
  }

  const find = (id) => document.getElementById(id);

  // A picture at a whole multiple of its own pixels where it is smaller than the box, and never blurred by that.
  function fitPicture(image, width, height, boxWidth, boxHeight) {
    const ratio = window.devicePixelRatio || 1;
    const room = Math.min((boxWidth * ratio) / width, (boxHeight * ratio) / height);
    const scale = (room >= 1 ? Math.floor(room) : room) / ratio;
    image.style.width = `${width * scale}px`;
    image.style.height = `${height * scale}px`;
    image.classList.toggle("pixels", room >= 1);
    return [width * scale, height * scale];
  }

  function duration(seconds) {
    if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
    return `${(seconds / 3600).toFixed(1)} h`;
  }

  const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

  Object.assign(window.Gallery, { make, find, fitPicture, duration, count });
})();
