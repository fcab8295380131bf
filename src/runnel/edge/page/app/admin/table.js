/** Tables that scroll in a region of their own, where the page is narrow. */

import { h } from "../dom.js";

/** @import { Child } from "../dom.js" */

export class Table {
  #body = h("tbody");
  #columns;

  /**
   * @param {string} caption what it is of
   * @param {{ name: string, kind?: "number" }[]} columns
   * @param {string} testId
   */
  constructor(caption, columns, testId) {
    this.#columns = columns;
    this.element = h(
      "div",
      { class: "admin-table", role: "region", "aria-label": caption, tabindex: "0" },
      h(
        "table",
        { "data-testid": testId },
        h("caption", { class: "unseen" }, caption),
        h("thead", {}, h("tr", {}, ...columns.map(({ name, kind }) => head(name, kind)))),
        this.#body,
      ),
    );
  }

  get body() {
    return this.#body;
  }

  /**
   * @param {{ attributes?: Record<string, any>, cells: (Child | Child[])[] }[]} rows
   * @param {string} nothing what is said where there is none
   */
  set(rows, nothing) {
    const empty = h(
      "tr",
      {},
      h("td", { colspan: this.#columns.length, class: "admin-nothing" }, nothing),
    );
    this.#body.replaceChildren(...(rows.length ? rows.map((row) => this.#row(row)) : [empty]));
  }

  /** @param {{ attributes?: Record<string, any>, cells: (Child | Child[])[] }} row */
  #row({ attributes, cells }) {
    return h(
      "tr",
      attributes,
      ...cells.map((cell, index) => {
        const children = Array.isArray(cell) ? cell : [cell];
        const kind = this.#columns[index].kind;
        // The first says whose row it is.
        return index === 0
          ? h("th", { scope: "row" }, ...children)
          : h("td", { class: kind ?? null }, ...children);
      }),
    );
  }
}

/** @param {string} name @param {string | undefined} kind */
function head(name, kind) {
  return h("th", { scope: "col", class: kind ?? null }, name);
}
