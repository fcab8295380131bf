/**
 * An answer as it comes: Markdown becomes elements within an element of the page. What is settled
 * stays; only what is at the end is rendered again, in animation frames. However the text is cut
 * into pieces, the elements are the same in the end.
 */

import { Blocks } from "./blocks.js";
import { soon } from "./frames.js";

/** A longer line is taken in such pieces. */
const LONGEST_LINE = 4096;

export class AnswerText {
  #element;
  #blocks;
  /** All of it. */
  #text = "";
  /** What has not become blocks yet: at rest, the beginning of a line. */
  #coming = "";
  /** Has a piece of this line become blocks? */
  #begun = false;
  #ended = false;
  #isShown = true;
  /** @type {(() => void)[]} */
  #waiting = [];

  /** @param {Element} element that has nothing else in it */
  constructor(element) {
    this.#element = element;
    this.#element.classList.add("markdown");
    this.#blocks = new Blocks(element);
  }

  /** The whole text is this. More may come. @param {string} text */
  set(text) {
    if (this.#ended || !text.startsWith(this.#text)) {
      this.#element.replaceChildren();
      this.#blocks = new Blocks(this.#element);
      [this.#text, this.#coming, this.#begun, this.#ended] = ["", "", false, false];
    }
    this.append(text.slice(this.#text.length));
  }

  /** @param {string} more */
  append(more) {
    if (more === "") return;
    this.#text += more;
    this.#coming += more;
    this.#show();
  }

  /** No more comes. */
  end() {
    if (this.#ended) return;
    this.#ended = true;
    this.#show();
  }

  /** Resolves once all that was given is shown. @returns {Promise<void>} */
  get settled() {
    if (this.#isShown) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** For `frames.js`. @param {number} until */
  work(until) {
    this.#blocks.back();
    while (this.#takeLine() || this.#blocks.catchUp())
      if (performance.now() >= until) {
        this.#blocks.render();
        return true;
      }
    if (this.#ended) this.#blocks.end();
    else this.#blocks.preview(this.#coming, this.#begun);
    this.#blocks.render();
    this.#isShown = true;
    for (const resolve of this.#waiting.splice(0)) resolve();
    return false;
  }

  #show() {
    this.#isShown = false;
    soon(this);
  }

  /** Makes blocks of one line, or of a piece of a long one; was there any? */
  #takeLine() {
    const end = this.#coming.indexOf("\n");
    const length = end < 0 ? this.#coming.length : end;
    if (length > LONGEST_LINE) {
      const half = /[\uD800-\uDBFF]/.test(this.#coming.charAt(LONGEST_LINE - 1));
      this.#take(half ? LONGEST_LINE - 1 : LONGEST_LINE);
      this.#begun = true;
      return true;
    }
    if (end < 0 && !(this.#ended && this.#coming)) return false;
    this.#take(length);
    this.#begun = false;
    if (end >= 0) {
      this.#coming = this.#coming.slice(1);
      this.#blocks.break();
    }
    return true;
  }

  /** @param {number} length */
  #take(length) {
    const text = this.#coming.slice(0, length);
    this.#coming = this.#coming.slice(length);
    if (this.#begun) this.#blocks.more(text);
    else this.#blocks.line(text);
  }
}
