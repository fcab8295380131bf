/** The settings: the system prompt of the session, and the params of the next questions. */

import { h, setAttribute } from "../dom.js";
import { words } from "../words.js";
import { whyOf } from "../talk/faults.js";
import { showDialog } from "./dialogs.js";
import {
  MOST_STOP_CHARACTERS,
  MOST_STOPS,
  NUMBERS,
  numberOf,
  stopsOf,
  stopsText,
} from "./params.js";

/** @import { Choices } from "./choices.js" */
/** @import { NumberParam } from "./params.js" */

const t = words({
  en: {
    title: "Settings",
    prompt: "System prompt",
    promptHint: "What every answer in this session obeys.",
    promptNew: "What every answer in this session obeys. Saving it begins the session.",
    params: "Answers",
    paramsHint: "For the next questions in this tab. What is empty is left to the server.",
    temperature: "Temperature",
    temperatureHint: "0 to 2. Low is steady, high is varied.",
    top_p: "Top P",
    top_pHint: "Above 0, up to 1.",
    max_tokens: "Most tokens",
    max_tokensHint: "The answer ends there at the latest.",
    seed: "Seed",
    seedHint: "The same one may give the same answer.",
    stop: "Stop at",
    stopHint: "One a line. \\n is a line break.",
    json: "Answer in JSON",
    wrong: "{name} does not hold. {hint}",
    stops: "At most {most} lines, each of at most {characters} characters.",
    reset: "Reset",
    save: "Save",
  },
  pt: {
    title: "Configurações",
    prompt: "Prompt de sistema",
    promptHint: "O que toda resposta nesta sessão segue.",
    promptNew: "O que toda resposta nesta sessão segue. Salvar inicia a sessão.",
    params: "Respostas",
    paramsHint: "Para as próximas perguntas nesta aba. O que fica vazio é decidido pelo servidor.",
    temperature: "Temperatura",
    temperatureHint: "De 0 a 2. Baixa é constante, alta é variada.",
    top_p: "Top P",
    top_pHint: "Acima de 0, até 1.",
    max_tokens: "Máximo de tokens",
    max_tokensHint: "A resposta termina ali, o mais tardar.",
    seed: "Semente",
    seedHint: "A mesma pode dar a mesma resposta.",
    stop: "Parar em",
    stopHint: "Uma por linha. \\n é uma quebra de linha.",
    json: "Responder em JSON",
    wrong: "{name} não é válido. {hint}",
    stops: "No máximo {most} linhas, cada uma com até {characters} caracteres.",
    reset: "Limpar",
    save: "Salvar",
  },
});

const MOST_PROMPT = 20_000;
const NAMES = /** @type {NumberParam[]} */ (Object.keys(NUMBERS));

/** @param {Choices} choices @param {(prompt: string) => Promise<unknown>} setPrompt */
export function showSettings(choices, setPrompt) {
  const { params, session } = choices;
  const promptBefore = session?.settings.system_prompt ?? "";
  const prompt = h("textarea", {
    name: "system_prompt",
    "data-testid": "system-prompt",
    rows: 5,
    dir: "auto",
    maxlength: MOST_PROMPT,
    "aria-describedby": "hint-prompt",
  });
  prompt.value = promptBefore;
  const numbers = NAMES.map((name) => {
    const input = h("input", {
      name,
      "data-testid": `param-${name}`,
      inputmode: NUMBERS[name].step === 1 ? "numeric" : "decimal",
      autocomplete: "off",
      value: params[name] ?? "",
      "aria-describedby": `hint-${name}`,
    });
    return { name, input };
  });
  const stop = h("textarea", {
    name: "stop",
    "data-testid": "param-stop",
    rows: 2,
    spellcheck: "false",
    "aria-describedby": "hint-stop",
  });
  stop.value = stopsText(params.stop);
  const json = h("input", {
    type: "checkbox",
    "data-testid": "param-json_mode",
    checked: params.json_mode === true,
  });
  const fault = h("p", { class: "fault", role: "alert" });
  const save = h("button", { class: "button primary", "data-testid": "save" }, t("save"));

  /** @param {HTMLElement} input @param {string} text */
  const refuse = (input, text) => {
    setAttribute(input, "aria-invalid", "true");
    fault.textContent = text;
    input.focus();
    return null;
  };
  /** What is written; null where it does not hold. @returns {Record<string, unknown> | null} */
  const written = () => {
    fault.textContent = "";
    for (const input of [stop, ...numbers.map((each) => each.input)]) {
      input.removeAttribute("aria-invalid");
    }
    /** @type {Record<string, unknown>} */
    const found = {};
    for (const { name, input } of numbers) {
      if (input.value.trim() === "") continue;
      const value = numberOf(name, input.value);
      if (value === null) {
        return refuse(input, t("wrong", { name: t(name), hint: t(`${name}Hint`) }));
      }
      found[name] = value;
    }
    const stops = stopsOf(stop.value);
    if (stops.length > MOST_STOPS || stops.some((each) => each.length > MOST_STOP_CHARACTERS)) {
      return refuse(stop, t("stops", { most: MOST_STOPS, characters: MOST_STOP_CHARACTERS }));
    }
    if (stops.length) found.stop = stops;
    if (json.checked) found.json_mode = true;
    return found;
  };
  const reset = () => {
    for (const { input } of numbers) input.value = "";
    stop.value = "";
    json.checked = false;
    written();
  };
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const next = written();
    if (next === null) return;
    save.disabled = true;
    try {
      if (prompt.value.trim() !== promptBefore.trim()) await setPrompt(prompt.value.trim());
      choices.params = next;
      dialog.close();
    } catch (error) {
      fault.textContent = whyOf(error);
    } finally {
      save.disabled = false;
    }
  };

  const form = h(
    "form",
    { class: "settings", novalidate: true, onsubmit: submit },
    field(t("prompt"), prompt, "hint-prompt", session ? t("promptHint") : t("promptNew")),
    h(
      "fieldset",
      {},
      h("legend", {}, t("params")),
      h("p", { class: "hint" }, t("paramsHint")),
      h(
        "div",
        { class: "settings-grid" },
        ...numbers.map(({ name, input }) =>
          field(t(name), input, `hint-${name}`, t(`${name}Hint`)),
        ),
      ),
      field(t("stop"), stop, "hint-stop", t("stopHint")),
      h("label", { class: "check" }, json, h("span", {}, t("json"))),
    ),
    fault,
    h(
      "div",
      { class: "dialog-buttons" },
      h("button", { type: "button", class: "button", onclick: reset }, t("reset")),
      save,
    ),
  );
  const dialog = showDialog(t("title"), [form], { "data-testid": "settings-dialog" });
  prompt.focus();
}

/** @param {string} name @param {HTMLElement} input @param {string} hintId @param {string} hint */
function field(name, input, hintId, hint) {
  return h(
    "div",
    { class: "field" },
    h("label", {}, h("span", {}, name), input),
    h("p", { class: "hint", id: hintId }, hint),
  );
}
