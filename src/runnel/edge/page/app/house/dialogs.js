/** Dialogs: one is shown over the page until it is closed, by Escape too. */

import { h } from "../dom.js";
import { words } from "../words.js";
import { iconButton } from "../icons.js";

/** @import { Child } from "../dom.js" */

const t = words({
  en: { close: "Close", cancel: "Cancel" },
  pt: { close: "Fechar", cancel: "Cancelar" },
});

let dialogs = 0;

/**
 * Shows a dialog. It is taken away once it is closed.
 * @param {string} title
 * @param {Child[]} content
 * @param {{ class?: string, "data-testid"?: string }} [attributes]
 */
export function showDialog(title, content, attributes = {}) {
  const titleId = `dialog-${++dialogs}`;
  const dialog = h(
    "dialog",
    { "aria-labelledby": titleId, ...attributes, class: `dialog ${attributes.class ?? ""}`.trim() },
    h(
      "header",
      { class: "dialog-head" },
      h("h2", { id: titleId }, title),
      iconButton("close", t("close"), { onclick: () => dialog.close() }),
    ),
    h("div", { class: "dialog-body" }, ...content),
  );
  dialog.addEventListener("close", () => dialog.remove());
  // Whoever presses outside of it has done with it; a selection that ends there has not.
  dialog.addEventListener("pointerdown", (event) => {
    if (event.target === dialog && outside(dialog, event)) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Asks whether to do what cannot be undone.
 * @param {string} title
 * @param {string} text
 * @param {string} yes what the button says that does it
 * @returns {Promise<boolean>}
 */
export function confirmed(title, text, yes) {
  return new Promise((answer) => {
    let sure = false;
    const no = h("button", { type: "button", class: "button", autofocus: true }, t("cancel"));
    const go = h(
      "button",
      { type: "button", class: "button danger", "data-testid": "confirm" },
      yes,
    );
    const buttons = h("div", { class: "dialog-buttons" }, no, go);
    const dialog = showDialog(title, [h("p", {}, text), buttons], { class: "small" });
    no.addEventListener("click", () => dialog.close());
    go.addEventListener("click", () => {
      sure = true;
      dialog.close();
    });
    dialog.addEventListener("close", () => answer(sure));
  });
}

/** @param {HTMLDialogElement} dialog @param {PointerEvent} event */
function outside(dialog, event) {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  const { clientX: x, clientY: y } = event;
  return x < left || x > right || y < top || y > bottom;
}
