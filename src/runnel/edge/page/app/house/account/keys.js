/** Long-lived keys for scripts: made here, shown once, revoked here. */

import { h } from "../../dom.js";
import { words } from "../../words.js";
import { whyOf } from "../../talk/faults.js";
import { confirmed, showDialog } from "../dialogs.js";
import { exact } from "../sessions/times.js";

/** @import { RunnelClient } from "../../../client.js" */

const t = words({
  en: {
    title: "API keys",
    hint: "A key stands in for your login in scripts and SDKs, until it is revoked.",
    name: "Name of a new key",
    create: "Create",
    once: "Copy this key now. It is shown only this once.",
    key: "The new key",
    none: "You have no keys.",
    unnamed: "Without a name",
    revoke: "Revoke",
    revokeName: "Revoke {name}",
    revokeTitle: "Revoke this key?",
    revokeText: "Whatever uses “{name}” will be refused from now on.",
  },
  pt: {
    title: "Chaves de API",
    hint: "Uma chave vale como o seu login em scripts e SDKs, até ser revogada.",
    name: "Nome de uma nova chave",
    create: "Criar",
    once: "Copie esta chave agora. Ela só é mostrada esta vez.",
    key: "A nova chave",
    none: "Você não tem chaves.",
    unnamed: "Sem nome",
    revoke: "Revogar",
    revokeName: "Revogar {name}",
    revokeTitle: "Revogar esta chave?",
    revokeText: "O que usa “{name}” será recusado de agora em diante.",
  },
});

/** @param {RunnelClient} client */
export function showKeys(client) {
  const list = h("ul", { class: "keys", "data-testid": "key-list" });
  const fault = h("p", { class: "fault", role: "alert" });
  const made = h("div", { class: "key-made", role: "status" });
  const name = h("input", {
    name: "name",
    maxlength: 128,
    autocomplete: "off",
    "data-testid": "key-name",
  });

  /** @param {() => Promise<void>} work */
  const attempt = async (work) => {
    fault.textContent = "";
    try {
      await work();
    } catch (error) {
      fault.textContent = whyOf(error);
    }
  };
  const read = async () => {
    const { keys } = await client.keys.list();
    list.replaceChildren(...keys.map(entry));
    if (!keys.length) list.replaceChildren(h("li", { class: "hint" }, t("none")));
  };
  const create = async () => {
    const { key } = await client.keys.create(name.value.trim());
    const shown = h("input", {
      readonly: true,
      value: key,
      "aria-label": t("key"),
      "data-testid": "new-key",
    });
    made.replaceChildren(h("p", {}, t("once")), shown);
    shown.select();
    shown.focus();
    name.value = "";
    await read();
  };
  const revoke = async (/** @type {any} */ key) => {
    const text = t("revokeText", { name: key.name || key.prefix });
    if (!(await confirmed(t("revokeTitle"), text, t("revoke")))) return;
    await client.keys.delete(key.id);
    await read();
  };
  const entry = (/** @type {any} */ key) =>
    h(
      "li",
      {},
      h(
        "span",
        { class: "key-name" },
        h("strong", {}, key.name || t("unnamed")),
        h("small", {}, h("code", {}, `${key.prefix}…`), ` ${exact(key.created_at)}`),
      ),
      h(
        "button",
        {
          type: "button",
          class: "button",
          "aria-label": t("revokeName", { name: key.name || key.prefix }),
          onclick: () => attempt(() => revoke(key)),
        },
        t("revoke"),
      ),
    );

  const form = h(
    "form",
    {
      class: "key-form",
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        attempt(create);
      },
    },
    h("label", { class: "field" }, h("span", {}, t("name")), name),
    h("button", { class: "button primary", "data-testid": "create-key" }, t("create")),
  );
  showDialog(t("title"), [h("p", { class: "hint" }, t("hint")), form, made, fault, list]);
  name.focus();
  attempt(read);
}
