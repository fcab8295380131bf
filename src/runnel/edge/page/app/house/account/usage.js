/** What the own answers of the last thirty days have taken. */

import { h } from "../../dom.js";
import { formatted, words } from "../../words.js";
import { whyOf } from "../../talk/faults.js";
import { showDialog } from "../dialogs.js";

/** @import { RunnelClient } from "../../../client.js" */

const t = words({
  en: {
    title: "Usage in the last 30 days",
    day: "Day",
    model: "Model",
    answers: "Answers",
    asked: "Tokens asked",
    answered: "Tokens answered",
    cost: "Cost",
    total: "Total",
    none: "There are no answers yet.",
    loading: "Loading …",
  },
  pt: {
    title: "Uso nos últimos 30 dias",
    day: "Dia",
    model: "Modelo",
    answers: "Respostas",
    asked: "Tokens perguntados",
    answered: "Tokens respondidos",
    cost: "Custo",
    total: "Total",
    none: "Ainda não há respostas.",
    loading: "Carregando …",
  },
});

/** @param {RunnelClient} client */
export async function showUsage(client) {
  const content = h("div", { class: "usage", role: "status" }, t("loading"));
  showDialog(t("title"), [content], { class: "wide", "data-testid": "usage-dialog" });
  try {
    const { usage, total } = await client.usage();
    content.replaceChildren(usage.length ? table(usage, total) : t("none"));
  } catch (error) {
    content.replaceChildren(whyOf(error));
  }
}

/** @param {any[]} usage @param {any} total */
function table(usage, total) {
  const heads = [t("day"), t("model"), t("answers"), t("asked"), t("answered"), t("cost")];
  const days = usage.toSorted((a, b) => b.date.localeCompare(a.date));
  return h(
    "div",
    // What can be scrolled has to be reached by keys too.
    { class: "table-frame", tabindex: 0, role: "region", "aria-label": t("title") },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
      h(
        "tbody",
        {},
        ...days.map((day) =>
          h("tr", {}, h("td", {}, dayOf(day.date)), h("td", {}, day.model), ...figures(day)),
        ),
      ),
      h(
        "tfoot",
        {},
        h("tr", {}, h("th", { scope: "row", colspan: 2 }, t("total")), ...figures(total)),
      ),
    ),
  );
}

/** @param {any} spent */
function figures(spent) {
  const { generations, prompt_tokens: asked, completion_tokens: answered, cost } = spent;
  const money = { style: "currency", currency: "USD", maximumFractionDigits: 4 };
  const all = [
    formatted(generations),
    formatted(asked),
    formatted(answered),
    cost === null ? "–" : formatted(cost, /** @type {Intl.NumberFormatOptions} */ (money)),
  ];
  return all.map((text) => h("td", { class: "figure" }, text));
}

/** A day in UTC, as the server counts. @param {string} date */
function dayOf(date) {
  const form = { day: "numeric", month: "short", timeZone: "UTC" };
  return new Intl.DateTimeFormat(
    document.documentElement.lang,
    /** @type {Intl.DateTimeFormatOptions} */ (form),
  ).format(new Date(date));
}
