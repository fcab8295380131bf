/** The pictures of the house. They say nothing to who cannot see them: each button has a name. */

import { h, s } from "../dom.js";

/** Drawn with a line in a square of 24. */
const PATHS = {
  account: ["M12 12.5a4 4 0 1 0 0-8 4 4 0 0 0 0 8z", "M4.5 20c1-3.6 4-5 7.5-5s6.5 1.4 7.5 5"],
  check: ["M5 12.5l4.5 4.5L19 7.5"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  copy: ["M9 9h10v11H9z", "M15 9V5H5v11h4"],
  list: ["M4 7h16", "M4 12h16", "M4 17h16"],
  more: ["M5.5 12h.01", "M12 12h.01", "M18.5 12h.01"],
  plus: ["M12 5v14", "M5 12h14"],
  search: ["M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14z", "M16.5 16.5L20.5 20.5"],
  sliders: ["M4 7h9", "M19 7h1", "M16 9.5v-5", "M4 17h1", "M11 17h9", "M8 19.5v-5"],
};

/** @typedef {keyof typeof PATHS} Icon */

/** @param {Icon} name */
export function icon(name) {
  const lines = PATHS[name].map((d) => s("path", { d }));
  const look = { fill: "none", stroke: "currentColor", "stroke-width": 1.75 };
  const joints = { "stroke-linecap": "round", "stroke-linejoin": "round" };
  return s(
    "svg",
    { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", ...look, ...joints },
    ...lines,
  );
}

/**
 * A button that is a picture. Its name is read out, and shown when it is pointed at.
 * @param {Icon} name
 * @param {string} label
 * @param {Record<string, any>} [attributes]
 */
export function iconButton(name, label, attributes = {}) {
  const all = { type: "button", class: "icon-button", "aria-label": label, title: label };
  return h("button", { ...all, ...attributes }, icon(name));
}

/** What the page is known by. */
export function emblem() {
  const wave = {
    fill: "none",
    stroke: "currentColor",
    "stroke-width": 3,
    "stroke-linecap": "round",
  };
  return s(
    "svg",
    { class: "emblem", viewBox: "0 0 32 32", "aria-hidden": "true" },
    s("rect", { class: "emblem-ground", width: 32, height: 32, rx: 8 }),
    s("path", { d: "M6 11c3.5-4 6.5-4 10 0s6.5 4 10 0", ...wave }),
    s("path", { d: "M6 21c3.5-4 6.5-4 10 0s6.5 4 10 0", ...wave }),
  );
}
