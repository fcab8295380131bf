/**
 * Markdown's blocks, line by line: what a line means depends on the lines before it and on no later
 * one, so that whatever it made stays. Elements are only ever added at the end.
 *
 * What stands in no markup stays in the text, character by character: indents, line breaks, empty
 * lines between blocks. Else this is CommonMark with GitHub's tables and tasks, but for this:
 * - HTML is text, and the text in it is Markdown;
 * - a definition of a reference is one line;
 * - the lines of indented code keep their indent;
 * - a paragraph of thousands of characters is cut, and no underline makes it a heading;
 * - a line of thousands of characters has to begin as what it is;
 * - a long list, quote or table is several;
 * - what is nested very deeply is text.
 */

import { h } from "../dom.js";
import { Code } from "./code.js";
import { Paragraph } from "./paragraph.js";
import { References } from "./references.js";
import * as syntax from "./syntax.js";
import { Table } from "./table.js";

/**
 * @typedef {{ kind: "root" | "quote", element: Element }} Plain
 * @typedef {{ kind: "list", element: Element, mark: string }} List
 * @typedef {{ kind: "entry", element: Element, indent: number }} Entry an item of a list
 * @typedef {Plain | List | Entry} Container
 *
 * @typedef {{ kind: "paragraph", part: Paragraph }} Words
 * @typedef {{ kind: "fenced", part: Code, fence: syntax.Fence, begun: boolean }} Fenced
 * @typedef {{ kind: "indented", part: Code }} Indented
 * @typedef {{ kind: "table", part: Table }} Rows
 * @typedef {Words | Fenced | Indented | Rows} Leaf
 */

const DEEPEST = 24;
/**
 * How many nodes an element gets. To add to one takes a browser as long as it has children: those
 * of a long answer are in parts, so that its end is as quick as its beginning.
 */
const MOST = 100;
/** The headings of an answer stand below those of the page. */
const HEADINGS = /** @type {const} */ (["h3", "h4", "h5", "h6", "h6", "h6"]);

export class Blocks {
  #references = new References();
  #root;
  /** Those that are open, each inside of the one before. @type {Container[]} */
  #open;
  /** What is open in the innermost of them. @type {Leaf | null} */
  #leaf = null;
  /** Line breaks and empty lines between what was made and what comes. */
  #gap = "";
  #afterBlank = false;
  /** How what a preview makes is taken back. @type {(() => void)[] | null} */
  #undo = null;

  /** @param {Element} element */
  constructor(element) {
    this.#root = element;
    const part = h("div", { class: "part" });
    element.append(part);
    this.#open = [{ kind: "root", element: part }];
  }

  /** A line, or the beginning of a very long one. @param {string} text */
  line(text) {
    const { depth, rest } = this.#continued(text);
    const leaf = depth === this.#open.length ? this.#leaf : null;
    const blank = syntax.isBlank(rest) && leaf?.kind !== "fenced";
    if (leaf?.kind === "fenced") this.#fencedLine(leaf, rest);
    else if (blank) this.#blankLine(depth, rest);
    else this.#textLine(depth, rest, leaf);
    this.#afterBlank = blank;
  }

  /** What a line that was begun goes on with. @param {string} text */
  more(text) {
    if (!text) return;
    if (this.#leaf && this.#leaf.kind !== "table") this.#leaf.part.add(text, this.#stays);
    else this.#words(this.#open.length, text);
  }

  /** The line is whole. */
  break() {
    this.#gap += "\n";
  }

  /** No line follows. */
  end() {
    this.#close(1);
    this.#separate(this.#root);
  }

  /** Shows the beginning of a line, until `back()`. @param {string} text @param {boolean} begun */
  preview(text, begun) {
    const [open, leaf, gap, blank] = [[...this.#open], this.#leaf, this.#gap, this.#afterBlank];
    const mark = leaf?.part.mark();
    const hadBegun = leaf?.kind === "fenced" && leaf.begun;
    const undo = () => {
      [this.#open, this.#leaf, this.#gap, this.#afterBlank] = [open, leaf, gap, blank];
      if (leaf?.kind === "fenced") leaf.begun = hadBegun;
      mark?.();
    };
    this.#undo = [undo];
    if (begun) this.more(text);
    else if (text) this.line(text);
    this.#separate(this.#root);
  }

  /** Takes back what a preview made. */
  back() {
    const undo = this.#undo;
    this.#undo = null;
    while (undo?.length) undo.pop()?.();
  }

  /** Brings up to date what is open. */
  render() {
    if (this.#leaf?.kind === "paragraph") this.#leaf.part.render();
  }

  /** Renders again one text with a reference that was defined after it; was there one? */
  catchUp() {
    return this.#references.catchUp();
  }

  get #stays() {
    return this.#undo === null;
  }

  /**
   * How many of the open containers a line goes on in, and what stands in it for them.
   * @param {string} text
   */
  #continued(text) {
    let depth = 1;
    let rest = text;
    for (; depth < this.#open.length; depth += 1) {
      const container = this.#open[depth];
      if (container?.kind === "quote") {
        if (!syntax.QUOTE.test(rest)) break;
        rest = syntax.quoted(rest);
      } else if (container?.kind === "entry") {
        const goesOn = syntax.isBlank(rest)
          ? container.element.hasChildNodes()
          : syntax.indentOf(rest) >= container.indent;
        if (!goesOn) break;
        rest = syntax.unindented(rest, container.indent);
      }
    }
    return { depth, rest };
  }

  /** @param {Fenced} leaf @param {string} text */
  #fencedLine(leaf, text) {
    const between = this.#gap;
    this.#gap = "";
    if (syntax.closes(text, leaf.fence)) {
      this.#close(this.#open.length);
      return;
    }
    // The break behind the fence is none of the code's.
    if (leaf.begun) leaf.part.add(between);
    leaf.begun = true;
    leaf.part.add(syntax.unindented(text, leaf.fence.indent));
  }

  /** @param {number} depth @param {string} text */
  #blankLine(depth, text) {
    if (depth < this.#open.length || this.#leaf?.kind !== "indented") this.#close(depth);
    this.#gap += text;
  }

  /** @param {number} depth @param {string} text @param {Leaf | null} leaf open, and not left */
  #textLine(depth, text, leaf) {
    if (leaf?.kind === "paragraph" && this.#isTransformed(leaf.part, text)) return;
    // A paragraph that the line has not the marks for goes on nevertheless, if nothing else begins.
    let words = this.#leaf?.kind === "paragraph" ? this.#leaf : null;
    let rest = text;
    for (;;) {
      const next = this.#entered(depth, rest, words !== null && words === leaf);
      if (next === null) break;
      [rest, words, leaf] = [next, null, null];
      depth = this.#open.length;
      if (syntax.isBlank(rest)) return;
    }
    if (this.#isSingle(depth, rest, words !== null)) return;
    const deep = syntax.indentOf(rest) >= 4;
    if (words) this.#goOn(words, this.#gap + rest);
    else if (leaf?.kind === "table") this.#goOn(leaf, rest);
    else if (deep) this.#indented(depth, rest, leaf);
    else this.#words(depth, rest, true);
  }

  /** @param {Words | Rows} leaf @param {string} text */
  #goOn(leaf, text) {
    leaf.part.add(text, this.#stays);
    this.#gap = "";
  }

  /**
   * A quote or an item, if one begins here: what stands in it.
   * @param {number} depth @param {string} text @param {boolean} interrupts a paragraph
   * @returns {string | null}
   */
  #entered(depth, text, interrupts) {
    if (depth >= DEEPEST) return null;
    if (syntax.QUOTE.test(text)) {
      const element = h("blockquote");
      this.#make(depth, element);
      this.#open.push({ kind: "quote", element });
      return syntax.quoted(text);
    }
    const item = syntax.RULE.test(text) ? null : syntax.itemOf(text);
    if (!item || (interrupts && (item.rest === "" || (item.number ?? 1) !== 1))) return null;
    this.#close(depth);
    const list = this.#open[depth - 1];
    if (list?.kind !== "list" || list.mark !== item.mark) this.#list(depth, item);
    const element = h("li", { dir: "auto", class: item.task && "task" });
    this.#make(this.#open.length, element, true);
    this.#open.push({ kind: "entry", element, indent: item.indent });
    return item.rest;
  }

  /** @param {number} depth @param {syntax.Item} item */
  #list(depth, { mark, number }) {
    const element = number === null ? h("ul") : h("ol", { start: number === 1 ? null : number });
    this.#make(depth, element);
    this.#open.push({ kind: "list", element, mark });
  }

  /**
   * Is it a block that begins with this line, and no paragraph?
   * @param {number} depth @param {string} text @param {boolean} interrupts
   */
  #isSingle(depth, text, interrupts) {
    const heading = syntax.headingOf(text);
    const fence = heading ? null : syntax.fenceOf(text);
    if (heading) {
      const element = h(HEADINGS[heading.level - 1] ?? "h6", { dir: "auto" });
      this.#make(depth, element);
      this.#references.fill(element, heading.text, this.#stays);
    } else if (fence) {
      const part = new Code(fence.language);
      this.#make(depth, part.element);
      this.#leaf = { kind: "fenced", part, fence, begun: false };
    } else if (syntax.RULE.test(text) && (this.#stays || !interrupts)) {
      this.#make(depth, h("hr"));
    } else return false;
    return true;
  }

  /** @param {number} depth @param {string} text @param {Leaf | null} leaf */
  #indented(depth, text, leaf) {
    if (leaf?.kind === "indented") {
      leaf.part.add(this.#gap);
      this.#gap = "";
      leaf.part.add(text);
      return;
    }
    const part = new Code(null);
    this.#make(depth, part.element);
    this.#leaf = { kind: "indented", part };
    part.add(text);
  }

  /** @param {number} depth @param {string} text @param {boolean} [fromStart] of the line */
  #words(depth, text, fromStart = false) {
    const definition = fromStart && this.#stays ? syntax.definitionOf(text) : null;
    if (definition) {
      this.#close(depth);
      this.#references.define(definition.label, definition.href);
      return;
    }
    const part = new Paragraph(this.#references);
    this.#make(depth, part.element);
    this.#leaf = { kind: "paragraph", part };
    part.add(text, this.#stays);
  }

  /**
   * What makes something else of the paragraph above. Half a line makes nothing of it, for most are
   * no such line when they are whole.
   * @param {Paragraph} part @param {string} text
   */
  #isTransformed(part, text) {
    const whole = this.#stays ? part.whole : null;
    if (whole === null) return false;
    const underline = syntax.UNDERLINE.exec(text);
    if (underline) {
      const heading = h(HEADINGS[underline[1] ? 0 : 1], { dir: "auto" });
      part.element.replaceWith(heading);
      this.#references.fill(heading, whole, true);
      this.#leaf = null;
    } else {
      const at = whole.lastIndexOf("\n");
      const head = whole.slice(at + 1);
      const aligns = syntax.alignments(text);
      if (!aligns || syntax.cellsOf(head).length !== aligns.length) return false;
      part.shorten(Math.max(at, 0));
      this.#gap = at < 0 ? "" : "\n";
      const table = new Table(head, aligns, this.#references);
      this.#make(this.#open.length, table.element);
      this.#leaf = { kind: "table", part: table };
    }
    this.#gap = "";
    return true;
  }

  /**
   * Puts a block where it belongs.
   * @param {number} depth @param {Element} element @param {boolean} [isEntry] of a list
   */
  #make(depth, element, isEntry = false) {
    this.#close(depth);
    if (!isEntry && this.#open.at(-1)?.kind === "list") this.#open.pop();
    const parent = /** @type {Container} */ (this.#open.at(-1));
    if (parent.element.childNodes.length >= MOST) this.#renew(this.#open.length - 1);
    const list = parent.kind === "entry" ? this.#open.at(-2) : parent;
    if (this.#afterBlank && list?.kind === "list" && parent.element.hasChildNodes())
      this.#loosen(list.element);
    this.#separate(parent.element);
    this.#put(parent.element, element);
  }

  /** Begins another part of a container that is full. @param {number} depth where it is open */
  #renew(depth) {
    const full = /** @type {Container} */ (this.#open[depth]);
    if (full.kind === "entry") return;
    const { element } = full;
    const next = /** @type {Element} */ (element.cloneNode());
    if (next instanceof HTMLOListElement && element instanceof HTMLOListElement)
      next.start = element.start + element.children.length;
    const outer = this.#open[depth - 1];
    if (outer && outer.element.childNodes.length >= MOST) this.#renew(depth - 1);
    const parent = outer?.element ?? this.#root;
    this.#separate(parent);
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
  #close(depth) {
    this.#leaf?.part.close(this.#stays);
    this.#leaf = null;
    this.#open = this.#open.slice(0, depth);
  }

  /** @param {Element} parent */
  #separate(parent) {
    if (this.#gap) this.#put(parent, new Text(this.#gap));
    this.#gap = "";
  }

  /** @param {Element} parent @param {Node} node */
  #put(parent, node) {
    parent.append(node);
    this.#undo?.push(() => parent.removeChild(node));
  }
}
