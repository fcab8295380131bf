/** What the reader thinks of an answer: helpful or not, and one to five stars. */

import { h, setAttribute } from "../dom.js";
import { formatted, words } from "../words.js";
import { iconButton } from "../icons.js";

const t = words({
  en: { helpful: "Helpful", not: "Not helpful", rating: "Rating", stars: "{number} of 5" },
  pt: { helpful: "Útil", not: "Não foi útil", rating: "Avaliação", stars: "{number} de 5" },
});

/** @typedef {{ helpful: boolean | null, rating: number | null }} Reaction */

export class Reactions {
  /** @type {Reaction} */ #shown = { helpful: null, rating: null };
  #react;
  #yes;
  #no;
  #stars;

  /** @param {(changes: Partial<Reaction>) => void} react */
  constructor(react) {
    this.#react = react;
    this.#yes = this.#thumb("yes", t("helpful"), true);
    this.#no = this.#thumb("no", t("not"), false);
    this.#stars = [1, 2, 3, 4, 5].map((number) => this.#star(number));
    const group = { class: "stars", role: "group", "aria-label": t("rating") };
    this.element = h(
      "div",
      { class: "reactions" },
      this.#yes,
      this.#no,
      h("div", group, ...this.#stars),
    );
  }

  /** @param {Reaction} reaction */
  show(reaction) {
    this.#shown = reaction;
    setAttribute(this.#yes, "aria-pressed", String(reaction.helpful === true));
    setAttribute(this.#no, "aria-pressed", String(reaction.helpful === false));
    this.#stars.forEach((star, index) => {
      setAttribute(star, "aria-pressed", String(reaction.rating === index + 1));
      setAttribute(star, "data-lit", index < (reaction.rating ?? 0));
    });
  }

  /** What is pressed again is taken back.
   *  @param {"yes" | "no"} name @param {string} label @param {boolean} helpful */
  #thumb(name, label, helpful) {
    const press = () => this.#react({ helpful: this.#shown.helpful === helpful ? null : helpful });
    return iconButton(name, label, { "data-testid": `helpful-${name}`, onclick: press });
  }

  /** @param {number} number */
  #star(number) {
    const press = () => this.#react({ rating: this.#shown.rating === number ? null : number });
    const label = t("stars", { number: formatted(number) });
    return iconButton("star", label, { "data-testid": `rating-${number}`, onclick: press });
  }
}
