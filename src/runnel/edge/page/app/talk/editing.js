/** A question that is being written anew, in its own place. */

import { h } from "../dom.js";
import { words } from "../words.js";
import { fit } from "./growing.js";

const t = words({
  en: { label: "The question in other words", ask: "Ask", cancel: "Cancel" },
  pt: { label: "A pergunta em outras palavras", ask: "Perguntar", cancel: "Cancelar" },
});

/**
 * @param {string} text
 * @param {{ ask: (text: string) => void, cancel: () => void }} wishes
 */
export function questionEditor(text, { ask, cancel }) {
  const input = h("textarea", {
    "aria-label": t("label"),
    "data-testid": "edit-text",
    dir: "auto",
    oninput: typed,
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") cancel();
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
  });
  input.value = text;
  const send = h("button", { class: "primary", "data-testid": "edit-send" }, t("ask"));
  const form = h(
    "form",
    {
      class: "editor",
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        if (!send.disabled) ask(input.value);
      },
    },
    input,
    h(
      "div",
      { class: "editor-buttons" },
      h("button", { type: "button", onclick: cancel, "data-testid": "edit-cancel" }, t("cancel")),
      send,
    ),
  );
  function typed() {
    send.disabled = input.value.trim() === "";
    fit(input);
  }
  return {
    element: form,
    /** Once it is in the document. */
    begin() {
      typed();
      input.focus();
      input.setSelectionRange(text.length, text.length);
    },
  };
}
