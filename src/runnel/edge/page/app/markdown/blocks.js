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
import { Outline } from "./outline.js";
import { Paragraph } from "./paragraph.js";
import { References } from "./references.js";
import * as syntax from "./syntax.js";
import { Table } from "./table.js";

/** @import { Fenced, Leaf, Rows, Words } from "./outline.js" */

const DEEPEST = 24;
/** The headings of an answer stand below those of the page. */
const HEADINGS = /** @type {const} */ (["h3", "h4", "h5", "h6", "h6", "h6"]);

export class Blocks {
  #references = new References();
  #outline;

  /** @param {Element} element */
  constructor(element) {
    this.#outline = new Outline(element);
  }

  /** A line, or the beginning of a very long one. @param {string} text */
  line(text) {
    const { depth, rest } = this.#continued(text);
    const leaf = depth === this.#outline.open.length ? this.#outline.leaf : null;
    const blank = syntax.isBlank(rest) && leaf?.kind !== "fenced";
    if (leaf?.kind === "fenced") this.#fencedLine(leaf, rest);
    else if (blank) this.#blankLine(depth, rest);
    else this.#textLine(depth, rest, leaf);
    this.#outline.afterBlank = blank;
  }

  /** What a line that was begun goes on with. @param {string} text */
  more(text) {
    if (!text) return;
    if (this.#outline.leaf && this.#outline.leaf.kind !== "table")
      this.#outline.leaf.part.add(text, this.#outline.stays);
    else this.#words(this.#outline.open.length, text);
  }

  /** The line is whole. */
  break() {
    this.#outline.gap += "\n";
  }

  /** No line follows. */
  end() {
    this.#outline.close(1);
    this.#outline.separate();
  }

  /** Shows the beginning of a line, until `back()`. @param {string} text @param {boolean} begun */
  preview(text, begun) {
    this.#outline.remember();
    if (begun) this.more(text);
    else if (text) this.line(text);
    this.#outline.separate();
  }

  /** Takes back what a preview made. */
  back() {
    this.#outline.back();
  }

  /** Brings up to date what is open. */
  render() {
    if (this.#outline.leaf?.kind === "paragraph") this.#outline.leaf.part.render();
  }

  /** Renders again one text with a reference that was defined after it; was there one? */
  catchUp() {
    return this.#references.catchUp();
  }

  /**
   * How many of the open containers a line goes on in, and what stands in it for them.
   * @param {string} text
   */
  #continued(text) {
    let depth = 1;
    let rest = text;
    for (; depth < this.#outline.open.length; depth += 1) {
      const container = this.#outline.open[depth];
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
    const between = this.#outline.gap;
    this.#outline.gap = "";
    if (syntax.closes(text, leaf.fence)) {
      this.#outline.close(this.#outline.open.length);
      return;
    }
    // The break behind the fence is none of the code's.
    if (leaf.begun) leaf.part.add(between);
    leaf.begun = true;
    leaf.part.add(syntax.unindented(text, leaf.fence.indent));
  }

  /** @param {number} depth @param {string} text */
  #blankLine(depth, text) {
    if (depth < this.#outline.open.length || this.#outline.leaf?.kind !== "indented")
      this.#outline.close(depth);
    this.#outline.gap += text;
  }

  /** @param {number} depth @param {string} text @param {Leaf | null} leaf open, and not left */
  #textLine(depth, text, leaf) {
    if (leaf?.kind === "paragraph" && this.#isTransformed(leaf.part, text)) return;
    // A paragraph that the line has not the marks for goes on nevertheless, if nothing else begins.
    let words = this.#outline.leaf?.kind === "paragraph" ? this.#outline.leaf : null;
    let rest = text;
    for (;;) {
      const next = this.#entered(depth, rest, words !== null && words === leaf);
      if (next === null) break;
      [rest, words, leaf] = [next, null, null];
      depth = this.#outline.open.length;
      if (syntax.isBlank(rest)) return;
    }
    if (this.#isSingle(depth, rest, words !== null)) return;
    const deep = syntax.indentOf(rest) >= 4;
    if (words) this.#goOn(words, this.#outline.gap + rest);
    else if (leaf?.kind === "table") this.#goOn(leaf, rest);
    else if (deep) this.#indented(depth, rest, leaf);
    else this.#words(depth, rest, true);
  }

  /** @param {Words | Rows} leaf @param {string} text */
  #goOn(leaf, text) {
    leaf.part.add(text, this.#outline.stays);
    this.#outline.gap = "";
  }

  /**
   * A quote or an item, if one begins here: what stands in it.
   * @param {number} depth @param {string} text @param {boolean} interrupts a paragraph
   * @returns {string | null}
   */
  #entered(depth, text, interrupts) {
    if (depth >= DEEPEST) return null;
    if (syntax.QUOTE.test(text)) {
      const element = h("blockquote", { dir: "auto" });
      this.#outline.make(depth, element);
      this.#outline.open.push({ kind: "quote", element });
      return syntax.quoted(text);
    }
    const item = syntax.RULE.test(text) ? null : syntax.itemOf(text);
    if (!item || (interrupts && (item.rest === "" || (item.number ?? 1) !== 1))) return null;
    this.#outline.close(depth);
    const list = this.#outline.open[depth - 1];
    if (list?.kind !== "list" || list.mark !== item.mark) this.#list(depth, item);
    const element = h("li", { dir: "auto", class: item.task && "task" });
    this.#outline.make(this.#outline.open.length, element, true);
    this.#outline.open.push({ kind: "entry", element, indent: item.indent });
    return item.rest;
  }

  /** @param {number} depth @param {syntax.Item} item */
  #list(depth, { mark, number }) {
    const start = number === null || number === 1 ? null : number;
    const element = h(number === null ? "ul" : "ol", { dir: "auto", start });
    this.#outline.make(depth, element);
    this.#outline.open.push({ kind: "list", element, mark });
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
      this.#outline.make(depth, element);
      this.#references.fill(element, heading.text, this.#outline.stays);
    } else if (fence) {
      const part = new Code(fence.language);
      this.#outline.make(depth, part.element);
      this.#outline.leaf = { kind: "fenced", part, fence, begun: false };
    } else if (syntax.RULE.test(text) && (this.#outline.stays || !interrupts)) {
      this.#outline.make(depth, h("hr"));
    } else return false;
    return true;
  }

  /** @param {number} depth @param {string} text @param {Leaf | null} leaf */
  #indented(depth, text, leaf) {
    if (leaf?.kind === "indented") {
      leaf.part.add(this.#outline.gap);
      this.#outline.gap = "";
      leaf.part.add(text);
      return;
    }
    const part = new Code(null);
    this.#outline.make(depth, part.element);
    this.#outline.leaf = { kind: "indented", part };
    part.add(text);
  }

  /** @param {number} depth @param {string} text @param {boolean} [fromStart] of the line */
  #words(depth, text, fromStart = false) {
    const definition = fromStart && this.#outline.stays ? syntax.definitionOf(text) : null;
    if (definition) {
      this.#outline.close(depth);
      this.#references.define(definition.label, definition.href);
      return;
    }
    const part = new Paragraph(this.#references);
    this.#outline.make(depth, part.element);
    this.#outline.leaf = { kind: "paragraph", part };
    part.add(text, this.#outline.stays);
  }

  /**
   * What makes something else of the paragraph above. Half a line makes nothing of it, for most are
   * no such line when they are whole.
   * @param {Paragraph} part @param {string} text
   */
  #isTransformed(part, text) {
    const whole = this.#outline.stays ? part.whole : null;
    if (whole === null) return false;
    const underline = syntax.UNDERLINE.exec(text);
    if (underline) {
      const heading = h(HEADINGS[underline[1] ? 0 : 1], { dir: part.element.getAttribute("dir") });
      part.element.replaceWith(heading);
      this.#references.fill(heading, whole, true);
      this.#outline.leaf = null;
    } else {
      const at = whole.lastIndexOf("\n");
      const head = whole.slice(at + 1);
      const aligns = syntax.alignments(text);
      if (!aligns || syntax.cellsOf(head).length !== aligns.length) return false;
      part.shorten(Math.max(at, 0));
      this.#outline.gap = at < 0 ? "" : "\n";
      const table = new Table(head, aligns, this.#references);
      this.#outline.make(this.#outline.open.length, table.element);
      this.#outline.leaf = { kind: "table", part: table };
    }
    this.#outline.gap = "";
    return true;
  }
}
