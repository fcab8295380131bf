/** What the page is known by. */

import { s } from "../dom.js";

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
