/** Asks whether to do what cannot be taken back. */

import { h } from "../dom.js";
import { words } from "../words.js";

const t = words({ en: { cancel: "Cancel" }, pt: { cancel: "Cancelar" } });

/**
 * @param {string} title
 * @param {string} text
 * @param {string} yes what the button says that does it
 * @returns {Promise<boolean>}
 */
export function confirmed(title, text, yes) {
  return new Promise((answer) => {
    const no = h("button", { class: "admin-button", autofocus: true }, t("cancel"));
    const go = h(
      "button",
      { class: "admin-button danger", value: "yes", "data-testid": "admin-confirm" },
      yes,
    );
    const dialog = h(
      "dialog",
      { class: "admin-dialog", "aria-labelledby": "admin-dialog-title" },
      h(
        "form",
        { method: "dialog" },
        h("h2", { id: "admin-dialog-title" }, title),
        h("p", {}, text),
        h("div", { class: "admin-actions" }, no, go),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
