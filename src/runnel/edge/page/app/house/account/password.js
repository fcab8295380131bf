/** Another password for the own account. */

import { h } from "../../dom.js";
import { words } from "../../words.js";
import { whyOf } from "../../talk/faults.js";
import { showDialog } from "../dialogs.js";

/** @import { RunnelClient, RunnelError } from "../../../client.js" */

const t = words({
  en: {
    title: "Change password",
    current: "Current password",
    next: "New password",
    again: "New password again",
    differ: "The new passwords are not the same.",
    wrong: "The current password is wrong.",
    note: "You stay signed in here; everywhere else you sign in anew.",
    change: "Change",
  },
  pt: {
    title: "Mudar a senha",
    current: "Senha atual",
    next: "Nova senha",
    again: "Nova senha, de novo",
    differ: "As novas senhas não são iguais.",
    wrong: "A senha atual está errada.",
    note: "Você continua conectado aqui; em outros lugares, entre de novo.",
    change: "Mudar",
  },
});

/** @param {RunnelClient} client @param {{ username: string }} me */
export function showPassword(client, me) {
  const current = field("current_password", "current-password");
  const next = field("new_password", "new-password");
  const again = field("new_password_again", "new-password");
  const fault = h("p", { class: "fault", role: "alert" });
  const go = h("button", { class: "button primary", "data-testid": "save" }, t("change"));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    fault.textContent = next.value === again.value ? "" : t("differ");
    if (fault.textContent) return;
    go.disabled = true;
    try {
      await client.changePassword(current.value, next.value);
      // All logins end with the old password, this one too.
      await client.login(me.username, next.value);
      dialog.close();
    } catch (error) {
      fault.textContent = faultOf(/** @type {RunnelError} */ (error));
    } finally {
      go.disabled = false;
    }
  };
  const form = h(
    "form",
    { onsubmit: submit },
    // For the browser's keeper of passwords.
    h("input", { name: "username", autocomplete: "username", value: me.username, hidden: true }),
    labelled(t("current"), current),
    labelled(t("next"), next),
    labelled(t("again"), again),
    h("p", { class: "hint" }, t("note")),
    fault,
    h("div", { class: "dialog-buttons" }, go),
  );
  const dialog = showDialog(t("title"), [form], { class: "small" });
  current.focus();
}

/** @param {RunnelError} error */
function faultOf(error) {
  return error.code === "forbidden" || error.code === "unauthorized" ? t("wrong") : whyOf(error);
}

/** @param {string} name @param {string} autocomplete */
function field(name, autocomplete) {
  const own = { name, autocomplete, "data-testid": name };
  return h("input", { type: "password", required: true, maxlength: 1024, ...own });
}

/** @param {string} text @param {HTMLElement} input */
function labelled(text, input) {
  return h("label", { class: "field" }, h("span", {}, text), input);
}
