/** Steps through what stands in one place on several branches: "‹ 2 of 3 ›". */

import { h } from "../dom.js";
import { formatted, words } from "../words.js";
import { iconButton } from "../icons.js";

const t = words({
  en: {
    versions: "Versions",
    previous: "Previous version",
    next: "Next version",
    place: "{place} of {places}",
  },
  pt: {
    versions: "Versões",
    previous: "Versão anterior",
    next: "Próxima versão",
    place: "{place} de {places}",
  },
});

export class BranchBar {
  #place = h("span", { class: "branch-place" });
  #previous;
  #next;

  /** @param {(by: 1 | -1) => void} step */
  constructor(step) {
    this.#previous = iconButton("left", t("previous"), {
      "data-testid": "branch-previous",
      onclick: () => step(-1),
    });
    this.#next = iconButton("right", t("next"), {
      "data-testid": "branch-next",
      onclick: () => step(1),
    });
    this.element = h(
      "div",
      { class: "branches", role: "group", "aria-label": t("versions"), "data-testid": "branches" },
      this.#previous,
      this.#place,
      this.#next,
    );
  }

  /** @param {number} place from 0 @param {number} places */
  show(place, places) {
    this.element.hidden = places < 2;
    this.#place.textContent = t("place", {
      place: formatted(place + 1),
      places: formatted(places),
    });
    this.#previous.disabled = place === 0;
    this.#next.disabled = place === places - 1;
  }

  /** Puts the cursor where it was before the step that led here. @param {1 | -1} by */
  focus(by) {
    const [same, other] = by === 1 ? [this.#next, this.#previous] : [this.#previous, this.#next];
    (same.disabled ? other : same).focus();
  }
}
