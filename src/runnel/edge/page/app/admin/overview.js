/** What all answers took, and how they ended: numbers and charts. */

import { h, setAttribute } from "../dom.js";
import { formatted, words } from "../words.js";
import { Chart } from "./chart.js";
import { amount, dayAndTime, duration, short, size, spell } from "./moments.js";
import { Changed } from "./reading.js";
import { Table } from "./table.js";

/** @import { RunnelClient } from "../../client.js" */

const t = words({
  en: {
    range: "Period",
    hour: "24 hours",
    day: "30 days",
    answers: "Answers",
    good: "Ended well",
    failed: "Failed",
    tokens: "Tokens",
    prompt: "Prompt",
    completion: "Answer",
    firstToken: "Time to the first token",
    cost: "Cost",
    sent: "Sent in the last minute",
    since: "{total} since {moment}, by this instance",
    rate: "{rate} of all",
    total: "{count} in total",
    mean: "mean {time}",
    failing: "Sessions that fail, in the last 24 hours",
    errors: "Why they failed",
    code: "Code",
    user: "User",
    session: "Session",
    none: "None failed.",
  },
  pt: {
    range: "Período",
    hour: "24 horas",
    day: "30 dias",
    answers: "Respostas",
    good: "Terminaram bem",
    failed: "Falharam",
    tokens: "Tokens",
    prompt: "Pergunta",
    completion: "Resposta",
    firstToken: "Tempo até o primeiro token",
    cost: "Custo",
    sent: "Enviado no último minuto",
    since: "{total} desde {moment}, por esta instância",
    rate: "{rate} do total",
    total: "{count} no total",
    mean: "média {time}",
    failing: "Sessões que falham, nas últimas 24 horas",
    errors: "Por que falharam",
    code: "Código",
    user: "Usuário",
    session: "Sessão",
    none: "Nenhuma falhou.",
  },
});

const RANGES = /** @type {const} */ (["hour", "day"]);
/** @typedef {(typeof RANGES)[number]} Range */

export class Overview {
  #client;
  /** @type {Range} */ #by = "hour";
  #changed = new Changed();
  #numbers = h("dl", { class: "admin-numbers", "data-testid": "admin-numbers" });
  #answers = new Chart({
    title: t("answers"),
    testId: "admin-chart-answers",
    parts: [
      { key: "good", name: t("good") },
      { key: "failed", name: t("failed") },
    ],
    shown: short,
  });
  #tokens = new Chart({
    title: t("tokens"),
    testId: "admin-chart-tokens",
    parts: [
      { key: "prompt", name: t("prompt") },
      { key: "completion", name: t("completion") },
    ],
    shown: short,
  });
  #firstToken = new Chart({
    title: t("firstToken"),
    testId: "admin-chart-first-token",
    parts: [{ key: "time", name: t("firstToken") }],
    shown: duration,
  });
  #cost = new Chart({
    title: t("cost"),
    testId: "admin-chart-cost",
    parts: [{ key: "cost", name: t("cost") }],
    shown: amount,
  });
  #errors = new Table(
    t("errors"),
    [{ name: t("code") }, { name: t("failed"), kind: "number" }],
    "admin-errors",
  );
  #failing = new Table(
    t("failing"),
    [
      { name: t("user") },
      { name: t("session") },
      { name: t("answers"), kind: "number" },
      { name: t("failed"), kind: "number" },
    ],
    "admin-failing",
  );
  #ranges;

  /** @param {RunnelClient} client */
  constructor(client) {
    this.#client = client;
    this.#ranges = RANGES.map((by) => this.#range(by));
    this.element = h(
      "div",
      { class: "admin-overview" },
      h("div", { class: "admin-ranges", role: "group", "aria-label": t("range") }, ...this.#ranges),
      this.#numbers,
      h(
        "div",
        { class: "admin-charts" },
        this.#answers.element,
        this.#tokens.element,
        this.#firstToken.element,
        this.#cost.element,
      ),
      h(
        "div",
        { class: "admin-charts" },
        h("section", {}, h("h2", {}, t("errors")), this.#errors.element),
        h("section", {}, h("h2", {}, t("failing")), this.#failing.element),
      ),
    );
    this.#mark();
  }

  async read() {
    const by = this.#by;
    const [usage, stats] = await Promise.all([
      this.#client.call("GET", "api/admin/usage", { query: { by } }),
      this.#client.call("GET", "api/admin/stats"),
    ]);
    if (by === this.#by && this.#changed.has([usage, stats])) this.#show(usage, stats);
  }

  /** @param {Range} by */
  #range(by) {
    return h(
      "button",
      {
        type: "button",
        "data-testid": `admin-by-${by}`,
        onclick: () => {
          this.#by = by;
          this.#mark();
          this.read().catch(() => {}); // the next look tells of it
        },
      },
      t(by),
    );
  }

  #mark() {
    RANGES.forEach((by, index) =>
      setAttribute(this.#ranges[index], "aria-pressed", String(by === this.#by)),
    );
  }

  /** @param {any} usage @param {any} stats */
  #show({ by, usage, total }, stats) {
    this.#showNumbers(total, stats.total, stats.started_at);
    const bars = (/** @type {(one: any) => Record<string, number>} */ values) =>
      usage.map((/** @type {any} */ one) => ({ name: spell(one.begins, by), values: values(one) }));
    const { generations, total_tokens: tokens, cost } = total;
    this.#answers.set(
      bars(({ generations, failed }) => ({ good: generations - failed, failed })),
      t("total", { count: formatted(generations) }),
    );
    this.#tokens.set(
      bars((one) => ({ prompt: one.prompt_tokens, completion: one.completion_tokens })),
      t("total", { count: short(tokens) }),
    );
    this.#firstToken.set(
      bars((one) => ({ time: one.first_token_ms ?? 0 })),
      t("mean", { time: duration(meanOf(usage)) }),
    );
    // Without a price there is nothing to draw.
    this.#cost.element.hidden = cost === null;
    this.#cost.set(
      bars((one) => ({ cost: one.cost ?? 0 })),
      t("total", { count: amount(cost) }),
    );
    this.#errors.set(
      Object.entries(errorsOf(usage)).map(([code, count]) => ({
        cells: [h("code", {}, code), formatted(count)],
      })),
      t("none"),
    );
    this.#failing.set(
      stats.sessions.map((/** @type {any} */ one) => ({
        cells: [
          one.username ?? one.user_id,
          h("code", {}, one.session_id),
          formatted(one.generations),
          formatted(one.failed),
        ],
      })),
      t("none"),
    );
  }

  /** @param {any} total @param {any} sent @param {string} startedAt */
  #showNumbers({ generations, failed, total_tokens: tokens, cost }, sent, startedAt) {
    const rate = formatted(generations ? failed / generations : 0, {
      style: "percent",
      maximumFractionDigits: 1,
    });
    const since = { total: size(sent.bytes_total), moment: dayAndTime(startedAt) };
    this.#numbers.replaceChildren(
      number(t("answers"), formatted(generations)),
      number(t("failed"), formatted(failed), t("rate", { rate }), failed > 0),
      number(t("tokens"), short(tokens)),
      number(t("cost"), amount(cost)),
      number(t("sent"), size(sent.bytes_last_minute), t("since", since)),
    );
  }
}

/** @param {string} name @param {string} value @param {string} [note] @param {boolean} [bad] */
function number(name, value, note, bad = false) {
  return h(
    "div",
    { class: bad ? "bad" : null },
    h("dt", {}, name),
    h("dd", { class: "admin-value" }, value),
    note && h("dd", { class: "admin-note" }, note),
  );
}

/** Each hour or day counts as much as it had answers. @param {any[]} usage */
function meanOf(usage) {
  const said = usage.filter((one) => one.first_token_ms !== null);
  const count = said.reduce((sum, one) => sum + one.generations, 0);
  const whole = said.reduce((sum, one) => sum + one.first_token_ms * one.generations, 0);
  return count ? whole / count : null;
}

/** @param {any[]} usage @returns {Record<string, number>} */
function errorsOf(usage) {
  /** @type {Record<string, number>} */
  const counted = {};
  for (const { errors } of usage) {
    for (const [code, count] of Object.entries(errors))
      counted[code] = (counted[code] ?? 0) + count;
  }
  return counted;
}
