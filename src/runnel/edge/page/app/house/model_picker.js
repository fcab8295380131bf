/** Which model answers. */

import { h } from "../dom.js";
import { words } from "../words.js";

/** @import { Choices } from "./choices.js" */

const t = words({
  en: { model: "Model", unavailable: "{alias} (not available)", default: "Default model" },
  pt: { model: "Modelo", unavailable: "{alias} (não disponível)", default: "Modelo padrão" },
});

export class ModelPicker {
  #choices;
  #select;

  /** @param {Choices} choices @param {(work: Promise<unknown>) => void} attempt */
  constructor(choices, attempt) {
    this.#choices = choices;
    this.#select = h("select", {
      class: "model",
      "data-testid": "model",
      "aria-label": t("model"),
      onchange: () => attempt(choices.chooseModel(this.#select.value)),
    });
    this.element = this.#select;
    choices.addEventListener("change", () => this.#show());
    this.#show();
  }

  #show() {
    const { models, default: standard } = this.#choices.models;
    const { model } = this.#choices;
    const known = models.some(({ alias }) => alias === model);
    const options = models.map(({ alias, available }) => option(alias, available));
    // A session may have one that is not there any more, and the list may not have come yet.
    if (!known) options.unshift(model === null ? placeholder() : option(model, !models.length));
    const shown = [...this.#select.options].map((each) => each.value + each.text);
    if (options.map((each) => each.value + each.text).join("\n") !== shown.join("\n")) {
      this.#select.replaceChildren(...options);
    }
    this.#select.value = model ?? "";
    this.#select.title = model === standard ? t("default") : (model ?? "");
  }
}

/** @param {string} alias @param {boolean} available */
function option(alias, available) {
  const text = available ? alias : t("unavailable", { alias });
  return h("option", { value: alias, disabled: !available }, text);
}

function placeholder() {
  return h("option", { value: "", disabled: true }, "…");
}
