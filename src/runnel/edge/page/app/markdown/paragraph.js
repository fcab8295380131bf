/**
 * A paragraph that grows. It is laid out and rendered again with each word that is added: one that
 * grows without end is cut where nothing that comes later can change the place.
 */

import { h } from "../dom.js";

/** @import { References } from "./references.js" */

const LONGEST = 4096;
/** The last white space that far before the end is where it is cut. */
const BACK = 1024;

export class Paragraph {
  /** The last one, if it was cut. */
  element = h("p", { dir: "auto" });
  #references;
  #text = "";
  #cut = false;
  #changed = false;

  /** @param {References} references */
  constructor(references) {
    this.#references = references;
  }

  /** @param {string} text @param {boolean} stays */
  add(text, stays) {
    this.#text += text;
    this.#changed = true;
    while (this.#text.length > LONGEST) {
      const at = placeToCut(this.#text);
      this.#references.fill(this.element, this.#text.slice(0, at), stays);
      this.#text = this.#text.slice(at);
      this.#cut = true;
      const next = h("p", { dir: "auto", class: "more" });
      this.element.after(next);
      this.element = next;
    }
  }

  /** A function that takes away what is added from now on. */
  mark() {
    const [element, text, cut] = [this.element, this.#text, this.#cut];
    return () => {
      while (this.element !== element) {
        const last = this.element;
        this.element = /** @type {HTMLParagraphElement} */ (last.previousSibling);
        last.remove();
      }
      [this.#text, this.#cut, this.#changed] = [text, cut, true];
    };
  }

  /** Whether it stays what it is or not. */
  render() {
    if (this.#changed) this.#references.fill(this.element, this.#text, false);
    this.#changed = false;
  }

  /** @param {boolean} stays */
  close(stays) {
    this.#references.fill(this.element, this.#text, stays);
  }

  /** All its text; null for one that was cut. */
  get whole() {
    return this.#cut ? null : this.#text;
  }

  /** Leaves so many characters; with none left it is gone. @param {number} length */
  shorten(length) {
    this.#text = this.#text.slice(0, length);
    if (length === 0) this.element.remove();
  }
}

/** @param {string} text */
function placeToCut(text) {
  const space =
    Math.max(text.lastIndexOf(" ", LONGEST - 1), text.lastIndexOf("\n", LONGEST - 1)) + 1;
  if (space > LONGEST - BACK) return space;
  return /[\uD800-\uDBFF]/.test(text.charAt(LONGEST - 1)) ? LONGEST - 1 : LONGEST;
}
