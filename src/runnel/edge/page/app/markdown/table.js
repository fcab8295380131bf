/**
 * A table to which rows are added. The columns' widths depend on all rows: a long table is made of
 * several, each with the head, so that a row more does not lay out thousands again.
 */

import { h } from "../dom.js";
import { words } from "../words.js";
import { cellsOf } from "./syntax.js";

/** @import { References } from "./references.js" */
/** @import { Align } from "./syntax.js" */

const t = words({ en: { table: "Table" }, pt: { table: "Tabela" } });
const PART_ROWS = 60;

export class Table {
  element = h("div", { class: "tables" });
  #body = h("tbody");
  #head;
  #aligns;
  #references;

  /** @param {string} head @param {Align[]} aligns @param {References} references */
  constructor(head, aligns, references) {
    this.#head = head;
    this.#aligns = aligns;
    this.#references = references;
    this.#begin();
  }

  /** @param {string} text a row @param {boolean} stays */
  add(text, stays) {
    if (this.#body.children.length >= PART_ROWS) this.#begin();
    this.#body.append("\n", this.#row("td", text, stays));
  }

  /** A function that takes away what is added from now on. */
  mark() {
    const [body, rows, parts] = [
      this.#body,
      this.#body.childNodes.length,
      this.element.childNodes.length,
    ];
    return () => {
      for (const [parent, count] of /** @type {[Node, number][]} */ ([
        [this.element, parts],
        [body, rows],
      ]))
        while (parent.childNodes.length > count) parent.lastChild?.remove();
      this.#body = body;
    };
  }

  close() {}

  #begin() {
    this.#body = h("tbody");
    const head = h("thead", {}, this.#row("th", this.#head, true));
    // By its first word, which therefore has no direction of its own.
    for (const cell of head.querySelectorAll("th")) {
      cell.removeAttribute("dir");
      if (/\p{L}/u.test(cell.textContent ?? "")) break;
    }
    const table = h("table", { dir: "auto" }, head, this.#body);
    const region = { class: "table", tabindex: 0, role: "group", "aria-label": t("table") };
    this.element.append(h("div", region, table));
  }

  /** @param {"th" | "td"} tag @param {string} text @param {boolean} stays */
  #row(tag, text, stays) {
    const row = h("tr");
    const cells = cellsOf(text);
    for (const [at, align] of this.#aligns.entries()) {
      const cell = h(tag, { dir: "auto", "data-align": align || null });
      this.#references.fill(cell, cells[at] ?? "", stays, true);
      if (at) row.append("\t");
      row.append(cell);
    }
    return row;
  }
}
