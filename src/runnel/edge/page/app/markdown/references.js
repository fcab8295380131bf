/** The addresses that links name by a label: `[label]` here, `[label]: address` there, maybe later. */

import { inline } from "./inline.js";

/** @import { Links } from "../../vendor/marked.js" */

/** What may name a label. */
const LABEL = /\[((?:[^[\]\\]|\\.){1,200})\]/g;

export class References {
  /** As marked wants them. @type {Links} */
  #links = {};
  /** What is filled again once a label is defined. @type {Map<string, (() => void)[]>} */
  #waiting = new Map();
  /** @type {(() => void)[]} */
  #due = [];

  /** The first one counts. @param {string} label @param {string} href */
  define(label, href) {
    const name = normal(label);
    if (Object.hasOwn(this.#links, name)) return;
    this.#links[name] = { href, title: null };
    this.#due.push(...(this.#waiting.get(name) ?? []));
    this.#waiting.delete(name);
  }

  /**
   * What stands in an element is this text; if it is to stay, also after labels are defined.
   * @param {Element} element @param {string} text @param {boolean} stays @param {boolean} [inCell]
   */
  fill(element, text, stays, inCell = false) {
    const content = inline(text, this.#links, inCell);
    const first = element.firstChild;
    if (typeof content !== "string" || !(first instanceof Text) || first.nextSibling)
      element.replaceChildren(content);
    else if (content.startsWith(first.data)) first.appendData(content.slice(first.length));
    else first.data = content;
    if (!stays || typeof content === "string") return;
    for (const [, label = ""] of text.matchAll(LABEL)) {
      const name = normal(label);
      if (Object.hasOwn(this.#links, name)) continue;
      const again = () => element.replaceChildren(inline(text, this.#links, inCell));
      const waiting = this.#waiting.get(name);
      if (waiting) waiting.push(again);
      else this.#waiting.set(name, [again]);
    }
  }

  /** Fills one element that waited for a label; was there one? */
  catchUp() {
    const again = this.#due.pop();
    again?.();
    return again !== undefined;
  }
}

/** @param {string} label */
function normal(label) {
  return label.trim().replace(/\s+/g, " ").toLowerCase();
}
