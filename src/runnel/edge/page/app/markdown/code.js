/**
 * A block of code, to which text is added without touching what stands there: it is kept in parts
 * of some lines, and only the last one is laid out again.
 */

import { h, s } from "../dom.js";
import { words } from "../words.js";
import { copy } from "./copying.js";

const t = words({
  en: { code: "Code", copy: "Copy code", copied: "Copied", failed: "Could not copy" },
  pt: {
    code: "Código",
    copy: "Copiar código",
    copied: "Copiado",
    failed: "Não foi possível copiar",
  },
});

/** A part is full when it has so many characters, or lines. */
const PART_LENGTH = 4096;
const PART_LINES = 60;

export class Code {
  #code = h("code");
  /** The last part: its text grows. @type {Text | null} */
  #part = null;
  #lines = 0;
  /** Line breaks that came and were not added yet: whether they end a part depends on what follows. */
  #breaks = "";

  /** @param {string | null} language null for indented code, which stays what it was in the text */
  constructor(language) {
    const label = language ? `${t("code")}: ${language}` : t("code");
    const pre = h(
      "pre",
      { tabindex: 0, role: "group", "aria-label": label, dir: "ltr" },
      this.#code,
    );
    this.element =
      language === null
        ? h("div", { class: "code" }, pre)
        : h("div", { class: "code", "data-language": language || null }, pre, this.#button());
  }

  /** @param {string} text with no line break in it, or nothing but line breaks */
  add(text) {
    if (text === "") return;
    if (text.startsWith("\n")) this.#breaks += text;
    else if (!this.#part || this.#isFull(this.#part)) this.#open(text);
    else this.#extend(this.#part, text);
  }

  /** A function that takes away what is added from now on. */
  mark() {
    const [part, length, lines, breaks] = [
      this.#part,
      this.#part?.length,
      this.#lines,
      this.#breaks,
    ];
    const last = this.#code.lastChild;
    return () => {
      while (this.#code.lastChild !== last) this.#code.lastChild?.remove();
      [this.#part, this.#lines, this.#breaks] = [part, lines, breaks];
      if (part && length !== undefined) part.deleteData(length, part.length - length);
    };
  }

  /** Breaks at the end. */
  close() {
    if (this.#breaks) this.#code.append(this.#breaks);
    this.#breaks = "";
  }

  /** @param {Text} part */
  #isFull(part) {
    return part.length >= PART_LENGTH || (this.#lines >= PART_LINES && this.#breaks !== "");
  }

  /** @param {string} text */
  #open(text) {
    // One break is made by the part's being a block; empty lines have to be in a part.
    const [between, empty] = this.#part
      ? [this.#breaks.slice(0, 1), this.#breaks.slice(1)]
      : ["", this.#breaks];
    this.#part = new Text(empty + text);
    this.#lines = 1;
    this.#breaks = "";
    this.#code.append(between, h("span", {}, this.#part));
  }

  /** @param {Text} part @param {string} text */
  #extend(part, text) {
    part.appendData(this.#breaks + text);
    this.#lines += this.#breaks.length;
    this.#breaks = "";
  }

  #button() {
    const icon = s(
      "svg",
      { viewBox: "0 0 16 16", "aria-hidden": "true" },
      s("rect", { x: 5.5, y: 5.5, width: 8, height: 8, rx: 1.5 }),
      s("path", { d: "M10.5 3.5v-.5a1 1 0 0 0-1-1H3a1 1 0 0 0-1 1v6.500a1 1 0 0 0 1 1h.5" }),
    );
    const onclick = async () => {
      const done = await copy(this.#code.textContent ?? "", {
        done: t("copied"),
        failed: t("failed"),
      });
      button.dataset.copied = String(done);
      setTimeout(() => delete button.dataset.copied, 2000);
    };
    const attributes = { type: "button", class: "copy", "aria-label": t("copy"), title: t("copy") };
    const button = h("button", { ...attributes, onclick }, icon);
    return button;
  }
}
