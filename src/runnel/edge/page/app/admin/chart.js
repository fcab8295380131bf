/** A small chart of bars over time, with what it shows as a table for whoever cannot see it. */

import { h, s, setAttribute } from "../dom.js";
import { words } from "../words.js";
import { Table } from "./table.js";

const t = words({
  en: { table: "As a table", when: "When", summary: "{title}: {total}, at most {most} at once" },
  pt: {
    table: "Como tabela",
    when: "Quando",
    summary: "{title}: {total}, no máximo {most} de uma vez",
  },
});

const WIDTH = 600;
const HEIGHT = 120;
const GAP = 0.25; // of a bar's place

/**
 * `parts` stand upon each other, from the bottom; each has a class `chart-PART` with its colour.
 * @typedef {object} Wishes
 * @property {string} title
 * @property {string} testId
 * @property {{ key: string, name: string }[]} parts
 * @property {(value: number) => string} shown
 */

/** @typedef {{ name: string, values: Record<string, number> }} Bar */

export class Chart {
  #wishes;
  #svg = s("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
  });
  #most = h("span", { class: "chart-most", "aria-hidden": "true" });
  #axis = h("div", { class: "chart-axis", "aria-hidden": "true" });
  #total = h("span", { class: "chart-total" });
  #table;

  /** @param {Wishes} wishes */
  constructor(wishes) {
    const { title, testId, parts } = wishes;
    this.#wishes = wishes;
    this.#table = new Table(
      title,
      [
        { name: t("when") },
        ...parts.map(({ name }) => ({ name, kind: /** @type {const} */ ("number") })),
      ],
      `${testId}-table`,
    );
    this.element = h(
      "section",
      { class: "chart", "data-testid": testId, "aria-label": title },
      h("header", {}, h("h2", {}, title), this.#total),
      parts.length > 1 && legend(parts),
      h("div", { class: "chart-plot" }, this.#most, this.#svg),
      this.#axis,
      h("details", {}, h("summary", {}, t("table")), this.#table.element),
    );
  }

  /** @param {Bar[]} bars @param {string} total */
  set(bars, total) {
    const { title, shown, parts } = this.#wishes;
    const sums = bars.map(({ values }) => parts.reduce((sum, { key }) => sum + values[key], 0));
    const most = Math.max(...sums, 0);
    this.#total.textContent = total;
    this.#most.textContent = most ? shown(most) : "";
    setAttribute(this.#svg, "aria-label", t("summary", { title, total, most: shown(most) }));
    setAttribute(this.#svg, "data-most", most);
    this.#svg.replaceChildren(
      ...[0.25, 0.5, 0.75].map((part) => line(HEIGHT * part)),
      ...bars.map((bar, index) =>
        this.#bar(bar, index * (WIDTH / bars.length), WIDTH / bars.length, most),
      ),
      line(HEIGHT - 0.5),
    );
    const ends = [bars.at(0), bars.at(Math.floor(bars.length / 2)), bars.at(-1)];
    this.#axis.replaceChildren(...ends.map((bar) => h("span", {}, bar?.name ?? "")));
    const rows = bars
      .filter((_, index) => sums[index] > 0)
      .map(({ name, values }) => ({
        cells: [name, ...parts.map(({ key }) => shown(values[key]))],
      }));
    this.#table.set(rows.reverse(), "–");
  }

  /** @param {Bar} bar @param {number} left @param {number} width @param {number} most */
  #bar({ name, values }, left, width, most) {
    const { parts, shown } = this.#wishes;
    let top = HEIGHT;
    const rects = parts.map(({ key }) => {
      const height = most ? (values[key] / most) * (HEIGHT - 4) : 0;
      top -= height;
      return s("rect", {
        class: `chart-${key}`,
        x: left + (width * GAP) / 2,
        y: top,
        width: width * (1 - GAP),
        height,
      });
    });
    const said = parts.map((part) => `${part.name}: ${shown(values[part.key])}`);
    return s(
      "g",
      {},
      s("title", {}, [name, ...said].join("\n")),
      // What is pointed at is the whole column, however small its bar.
      s("rect", { class: "chart-column", x: left, y: 0, width, height: HEIGHT }),
      ...rects,
    );
  }
}

/** @param {Wishes["parts"]} parts */
function legend(parts) {
  return h(
    "ul",
    { class: "chart-legend", "aria-hidden": "true" },
    ...parts.map(({ key, name }) =>
      h("li", {}, h("span", { class: `chart-swatch chart-${key}` }), name),
    ),
  );
}

/** @param {number} y */
function line(y) {
  return s("line", { class: "chart-line", x1: 0, x2: WIDTH, y1: y, y2: y });
}
