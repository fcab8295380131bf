/** What an answer took: one quiet line, and all that is known when it is opened. */

import { h } from "../dom.js";
import { formatted, words } from "../words.js";

/** @import { Message } from "./tree.js" */

const t = words({
  en: {
    tokens: "{number} tokens",
    model: "Model",
    prompt: "Tokens of the question",
    completion: "Tokens of the answer",
    all: "Tokens",
    estimated: "{number}, estimated",
    first: "Until the first token",
    time: "Time",
    speed: "Speed",
    perSecond: "{number} tokens/s",
    cost: "Cost",
    finish: "Ended by",
  },
  pt: {
    tokens: "{number} tokens",
    model: "Modelo",
    prompt: "Tokens da pergunta",
    completion: "Tokens da resposta",
    all: "Tokens",
    estimated: "{number}, estimado",
    first: "Até o primeiro token",
    time: "Tempo",
    speed: "Velocidade",
    perSecond: "{number} tokens/s",
    cost: "Custo",
    finish: "Terminou por",
  },
});

export class Details {
  #line = h("summary");
  #table = h("dl");
  #told = "";

  constructor() {
    this.element = h(
      "details",
      { class: "took", "data-testid": "details", hidden: true },
      this.#line,
      this.#table,
    );
  }

  /** @param {Message} message */
  show({ metadata }) {
    const line = lineOf(metadata);
    const rows = rowsOf(metadata);
    const told = JSON.stringify([line, rows]);
    if (told === this.#told) return;
    this.#told = told;
    this.element.hidden = line === "";
    this.#line.textContent = line;
    this.#table.replaceChildren(
      ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    );
  }
}

/** @param {Message["metadata"]} metadata */
function lineOf({ agent_used, tokens_used, processing_time, usage }) {
  const cost = usage?.cost;
  const parts = [
    agent_used,
    tokens_used !== null && t("tokens", { number: formatted(tokens_used) }),
    processing_time !== null && seconds(processing_time),
    cost !== null && cost !== undefined && money(cost),
  ];
  return parts.filter(Boolean).join(" · ");
}

/** @param {Message["metadata"]} metadata @returns {[string, string][]} */
function rowsOf({
  agent_used,
  tokens_used,
  processing_time,
  usage,
  first_token_ms,
  finish_reason,
}) {
  const cost = usage?.cost;
  const estimated = usage?.source === "estimated";
  const count = (/** @type {number} */ number) =>
    estimated ? t("estimated", { number: formatted(number) }) : formatted(number);
  const writing = (processing_time ?? 0) - (first_token_ms ?? 0) / 1000;
  const speed = usage && writing > 0.05 ? usage.completion_tokens / writing : null;
  /** @type {[string, string | null][]} */
  const rows = [
    [t("model"), agent_used],
    [t("prompt"), usage ? count(usage.prompt_tokens) : null],
    [t("completion"), usage ? count(usage.completion_tokens) : null],
    [t("all"), usage || tokens_used === null ? null : formatted(tokens_used)],
    [t("first"), isNumber(first_token_ms) ? seconds(first_token_ms / 1000) : null],
    [t("time"), isNumber(processing_time) ? seconds(processing_time) : null],
    [
      t("speed"),
      speed === null
        ? null
        : t("perSecond", { number: formatted(speed, { maximumFractionDigits: 1 }) }),
    ],
    [t("cost"), isNumber(cost) ? money(cost) : null],
    [t("finish"), finish_reason ?? null],
  ];
  return /** @type {[string, string][]} */ (rows.filter(([, value]) => value));
}

/** @param {unknown} value @returns {value is number} */
function isNumber(value) {
  return typeof value === "number";
}

/** @param {number} value */
function seconds(value) {
  const digits = value < 10 ? 2 : 1;
  return `${formatted(value, { maximumFractionDigits: digits })} s`;
}

/** In what the models' prices are in. @param {number} value */
function money(value) {
  return formatted(value, { maximumSignificantDigits: 3 });
}
