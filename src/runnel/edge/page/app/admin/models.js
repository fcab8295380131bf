/** The aliases: whether they can be asked, and how they answered lately. */

import { h } from "../dom.js";
import { formatted, words } from "../words.js";
import { whyOf } from "../talk/faults.js";
import { duration } from "./moments.js";
import { Changed } from "./reading.js";
import { Table } from "./table.js";

/** @import { App } from "../app.js" */

const t = words({
  en: {
    title: "Aliases",
    alias: "Alias",
    model: "Model",
    state: "State",
    answers: "Answers, 24 h",
    failed: "Failed",
    first: "First token, median",
    late: "95th percentile",
    good: "Available",
    bad: "Not available",
    isDefault: "default",
    standIn: "Stand in: {aliases}",
    none: "There is no alias.",
    reload: "Read models.json anew",
    reloading: "Reading …",
    reloaded: "Read anew: all aliases can be asked.",
    faults: "Read anew. These cannot be asked:",
    refused: "Not taken, all stays as it was: {why}",
  },
  pt: {
    title: "Apelidos",
    alias: "Apelido",
    model: "Modelo",
    state: "Estado",
    answers: "Respostas, 24 h",
    failed: "Falharam",
    first: "Primeiro token, mediana",
    late: "Percentil 95",
    good: "Disponível",
    bad: "Indisponível",
    isDefault: "padrão",
    standIn: "Substitutos: {aliases}",
    none: "Não há nenhum apelido.",
    reload: "Ler models.json de novo",
    reloading: "Lendo …",
    reloaded: "Lido de novo: todos os apelidos podem responder.",
    faults: "Lido de novo. Estes não podem responder:",
    refused: "Não aceito, tudo fica como estava: {why}",
  },
});

export class Models {
  #app;
  #after;
  #changed = new Changed();
  #table = new Table(
    t("title"),
    [
      { name: t("alias") },
      { name: t("model") },
      { name: t("state") },
      { name: t("answers"), kind: "number" },
      { name: t("failed"), kind: "number" },
      { name: t("first"), kind: "number" },
      { name: t("late"), kind: "number" },
    ],
    "admin-models-table",
  );
  #reload = h(
    "button",
    {
      type: "button",
      class: "admin-button",
      "data-testid": "admin-reload",
      onclick: () => this.#readAnew(),
    },
    t("reload"),
  );
  #told = h("div", { class: "admin-told", role: "status", "data-testid": "admin-reloaded" });

  /** @param {App} app @param {() => void} after what is to be done once they were read anew */
  constructor(app, after) {
    this.#app = app;
    this.#after = after;
    this.element = h(
      "div",
      {},
      h("div", { class: "admin-bar" }, this.#reload),
      this.#told,
      this.#table.element,
    );
  }

  async read() {
    const answer = await this.#app.client.call("GET", "api/admin/models");
    if (!this.#changed.has(answer)) return;
    this.#table.set(
      answer.models.map((/** @type {any} */ one) => row(one, one.alias === answer.default)),
      t("none"),
    );
  }

  async #readAnew() {
    this.#reload.disabled = true;
    this.#reload.textContent = t("reloading");
    try {
      const { faults } = await this.#app.client.call("POST", "api/admin/models/reload");
      if (faults.length === 0) this.#tell(t("reloaded"));
      else this.#tell(t("faults"), faults);
      this.#after();
    } catch (error) {
      this.#tell(t("refused", { why: whyOf(error) }));
    } finally {
      this.#reload.disabled = false;
      this.#reload.textContent = t("reload");
    }
  }

  /** @param {string} text @param {string[]} [faults] */
  #tell(text, faults = []) {
    const list = h("ul", {}, ...faults.map((fault) => h("li", {}, fault)));
    this.#told.replaceChildren(h("p", {}, text), ...(faults.length ? [list] : []));
  }
}

/** @param {any} one @param {boolean} isDefault */
function row(one, isDefault) {
  const ends = one.last_24_hours;
  const codes = Object.entries(ends.errors).map(
    ([code, count]) => `${code} ${formatted(/** @type {number} */ (count))}`,
  );
  return {
    attributes: {
      "data-testid": "admin-alias",
      "data-alias": one.alias,
      "data-available": String(one.available),
    },
    cells: [
      [one.alias, isDefault && h("span", { class: "admin-badge" }, t("isDefault"))],
      [
        one.model,
        h("div", { class: "admin-note" }, one.provider),
        one.fallbacks.length > 0 &&
          h("div", { class: "admin-note" }, t("standIn", { aliases: one.fallbacks.join(", ") })),
      ],
      [
        h(
          "span",
          { class: one.available ? "admin-good" : "admin-bad" },
          one.available ? t("good") : t("bad"),
        ),
        one.why_not && h("div", { class: "admin-note admin-why" }, one.why_not),
      ],
      formatted(ends.generations),
      [
        formatted(ends.failed),
        codes.length > 0 && h("div", { class: "admin-note" }, codes.join(", ")),
      ],
      duration(ends.first_token_ms_p50),
      duration(ends.first_token_ms_p95),
    ],
  };
}
