/** The pictures on buttons. They say nothing to who cannot see them: each button has a name. */

import { h, s } from "./dom.js";

/** Drawn with a line in a square of 24. */
const PATHS = {
  account: ["M12 12.5a4 4 0 1 0 0-8 4 4 0 0 0 0 8z", "M4.5 20c1-3.6 4-5 7.5-5s6.5 1.4 7.5 5"],
  again: ["M20 11a8 8 0 1 0-2.3 6.3", "M20 5v6h-6"],
  attach: [
    "M19 11l-7.5 7.5a4.5 4.5 0 0 1-6.4-6.4L13 4.3a3 3 0 0 1 4.3 4.3L9.5 16.3a1.5 1.5 0 0 1-2.1-2.1L14 7.5",
  ],
  check: ["M5 12.5l4.5 4.5L19 7.5"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  copy: ["M9 9h10v11H9z", "M15 9V5H5v11h4"],
  down: ["M12 5v14", "M6 13l6 6 6-6"],
  edit: ["M4 20l1-4L16 5l3 3L8 19z", "M14 7l3 3"],
  file: ["M6 3h8l4 4v14H6z", "M14 3v4h4", "M9 12h6", "M9 16h6"],
  left: ["M14 6l-6 6 6 6"],
  list: ["M4 7h16", "M4 12h16", "M4 17h16"],
  more: ["M5.5 12h.01", "M12 12h.01", "M18.5 12h.01"],
  no: [
    "M17 4h3v10h-3",
    "M17 14l-4 7c-2 0-2-1.5-2-3v-3H5.5a2 2 0 0 1-2-2.4l1.3-6.8A2 2 0 0 1 6.8 4H17z",
  ],
  plus: ["M12 5v14", "M5 12h14"],
  right: ["M10 6l6 6-6 6"],
  search: ["M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14z", "M16.5 16.5L20.5 20.5"],
  send: ["M12 19V5", "M6 11l6-6 6 6"],
  sliders: ["M4 7h9", "M19 7h1", "M16 9.5v-5", "M4 17h1", "M11 17h9", "M8 19.5v-5"],
  star: ["M12 3.5l2.6 5.5 6 .8-4.4 4.2 1.1 6L12 17.1 6.7 20l1.1-6L3.4 9.8l6-.8z"],
  stop: ["M7 7h10v10H7z"],
  yes: [
    "M7 20H4V10h3",
    "M7 10l4-7c2 0 2 1.5 2 3v3h5.5a2 2 0 0 1 2 2.4l-1.3 6.8a2 2 0 0 1-2 1.8H7z",
  ],
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
