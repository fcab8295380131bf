/** A password that was made up, shown this once. */

import { h } from "../dom.js";
import { words } from "../words.js";
import { copy } from "../markdown/copying.js";

const t = words({
  en: {
    of: "Password of {name}",
    once: "It is shown this once. Give it to {name}, who can change it after signing in.",
    copy: "Copy",
    copied: "Copied",
    failed: "It could not be copied",
    done: "Done",
  },
  pt: {
    of: "Senha de {name}",
    once: "Ela é mostrada só desta vez. Entregue-a a {name}, que pode mudá-la depois de entrar.",
    copy: "Copiar",
    copied: "Copiada",
    failed: "Não foi possível copiar",
    done: "Pronto",
  },
});

export class NewPassword {
  element = h("div", { role: "status" });

  /** @param {string} name @param {string} password */
  show(name, password) {
    const copying = h(
      "button",
      {
        type: "button",
        class: "admin-button primary",
        "data-testid": "admin-copy-password",
        onclick: async () => {
          const notes = { done: t("copied"), failed: t("failed") };
          if (await copy(password, notes)) copying.textContent = t("copied");
        },
      },
      t("copy"),
    );
    const done = h(
      "button",
      { type: "button", class: "admin-button", onclick: () => this.element.replaceChildren() },
      t("done"),
    );
    this.element.replaceChildren(
      h(
        "div",
        { class: "admin-password" },
        h("strong", {}, t("of", { name })),
        h("code", { "data-testid": "admin-new-password" }, password),
        h("span", { class: "admin-actions" }, copying, done),
        h("span", { class: "admin-note" }, t("once", { name })),
      ),
    );
  }
}
