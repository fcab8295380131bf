/**
 * The blocks that are open, and where the next one is put: elements are only ever added at the end.
 * What the beginning of a line makes is taken back when more of the line has come.
 */

import { h } from "../dom.js";

/** @import { Code } from "./code.js" */
/** @import { Paragraph } from "./paragraph.js" */
/** @import { Table } from "./table.js" */
/** @import { Fence } from "./syntax.js" */

/**
 * @typedef {{ kind: "root" | "quote", element: Element }} Plain
 * @typedef {{ kind: "list", element: Element, mark: string }} List
 * @typedef {{ kind: "entry", element: Element, indent: number }} Entry an item of a list
 * @typedef {Plain | List | Entry} Container
 *
 * @typedef {{ kind: "paragraph", part: Paragraph }} Words
 * @typedef {{ kind: "fenced", part: Code, fence: Fence, begun: boolean }} Fenced
 * @typedef {{ kind: "indented", part: Code }} Indented
 * @typedef {{ kind: "table", part: Table }} Rows
 * @typedef {Words | Fenced | Indented | Rows} Leaf
 */

/**
 * How many nodes an element gets. To add to one takes a browser as long as it has children: those
 * of a long answer are in parts, so that its end is as quick as its beginning.
 */
const MOST = 100;
export class Outline {
  /** Those that are open, each inside of the one before. @type {Container[]} */
  open;
  /** What is open in the innermost of them. @type {Leaf | null} */
  leaf = null;
  /** Line breaks and empty lines between what was made and what comes. */
  gap = "";
  afterBlank = false;
  #root;
  /** How what is made now is taken back. @type {(() => void)[] | null} */
  #undo = null;

  /** @param {Element} element */
  constructor(element) {
    this.#root = element;
    const part = h("div", { class: "part" });
    element.append(part);
    this.open = [{ kind: "root", element: part }];
  }

  /** Is what is made now there to stay? */
  get stays() {
    return this.#undo === null;
  }

  /** What is made from now on is taken back by `back()`. */
  remember() {
    const { open, leaf, gap, afterBlank } = this;
    const mark = leaf?.part.mark();
    const begun = leaf?.kind === "fenced" && leaf.begun;
    const undo = () => {
      Object.assign(this, { open, leaf, gap, afterBlank });
      if (leaf?.kind === "fenced") leaf.begun = begun;
      mark?.();
    };
    this.#undo = [undo];
    this.open = [...open];
  }

  back() {
    const undo = this.#undo;
    this.#undo = null;
    while (undo?.length) undo.pop()?.();
  }

  /**
   * Puts a block where it belongs.
   * @param {number} depth @param {Element} element @param {boolean} [isEntry] of a list
   */
  make(depth, element, isEntry = false) {
    this.close(depth);
    if (!isEntry && this.open.at(-1)?.kind === "list") this.open.pop();
    const parent = /** @type {Container} */ (this.open.at(-1));
    if (parent.element.childNodes.length >= MOST) this.#renew(this.open.length - 1);
    const list = parent.kind === "entry" ? this.open.at(-2) : parent;
    if (this.afterBlank && list?.kind === "list" && parent.element.hasChildNodes())
      this.#loosen(list.element);
    this.separate(parent.element);
    // By what stands first in it a list or a quote finds its own direction, and an item of it too;
    // whatever has a `dir` is passed over there.
    if (parent.kind !== "root" && !parent.element.firstElementChild) element.removeAttribute("dir");
    this.#put(parent.element, element);
  }

  /** Begins another part of a container that is full. @param {number} depth where it is open */
  #renew(depth) {
    const full = /** @type {Container} */ (this.open[depth]);
    if (full.kind === "entry") return;
    const { element } = full;
    const next = /** @type {Element} */ (element.cloneNode());
    if (next instanceof HTMLOListElement && element instanceof HTMLOListElement)
      next.start = element.start + element.children.length;
    const outer = this.open[depth - 1];
    if (outer && outer.element.childNodes.length >= MOST) this.#renew(depth - 1);
    const parent = outer?.element ?? this.#root;
    this.separate(parent);
    this.#put(parent, next);
    full.element = next;
    this.#undo?.push(() => (full.element = element));
  }

  /** Space between the items of a list. @param {Element} list */
  #loosen(list) {
    if (list.classList.contains("loose")) return;
    list.classList.add("loose");
    this.#undo?.push(() => list.removeAttribute("class"));
  }

  /** Closes what is open deeper than this. @param {number} depth */
  close(depth) {
    this.leaf?.part.close(this.stays);
    this.leaf = null;
    this.open = this.open.slice(0, depth);
  }

  /** Puts there what the gap is. @param {Element} [parent] */
  separate(parent = this.#root) {
    if (this.gap) this.#put(parent, new Text(this.gap));
    this.gap = "";
  }

  /** @param {Element} parent @param {Node} node */
  #put(parent, node) {
    parent.append(node);
    this.#undo?.push(() => parent.removeChild(node));
  }
}
