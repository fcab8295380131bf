/** Short notes that come and go; they are read to whoever cannot see them. */

import { h } from "../dom.js";
import { words } from "../words.js";
import { iconButton } from "../icons.js";

const t = words({ en: { dismiss: "Dismiss" }, pt: { dismiss: "Dispensar" } });

const SHOWN_MS = { info: 5_000, error: 12_000 };
/** More are never seen at once: the oldest goes. */
const MOST = 3;

export class Notes {
  // What is to be read out has to be put into an element that is there before.
  #polite = h("div", { role: "status", class: "notes-of" });
  #urgent = h("div", { role: "alert", class: "notes-of" });
  element = h("div", { class: "notes", "data-testid": "notes" }, this.#urgent, this.#polite);

  /** @param {string} text @param {"info" | "error"} [kind] */
  tell(text, kind = "info") {
    const note = h("div", { class: "note", "data-kind": kind }, h("p", {}, text));
    const gone = () => note.remove();
    note.append(iconButton("close", t("dismiss"), { onclick: gone }));
    let timer = setTimeout(gone, SHOWN_MS[kind]);
    note.addEventListener("pointerenter", () => clearTimeout(timer));
    note.addEventListener("pointerleave", () => {
      timer = setTimeout(gone, SHOWN_MS[kind]);
    });
    const place = kind === "error" ? this.#urgent : this.#polite;
    for (const same of place.children) {
      if (same.querySelector("p")?.textContent === text) same.remove();
    }
    place.append(note);
    while (place.children.length > MOST) place.firstElementChild?.remove();
  }
}
