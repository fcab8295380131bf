/** The page: whoever is not signed in signs in, whoever is talks. */

import { RunnelClient } from "../client.js";
import { h } from "./dom.js";
import { words } from "./words.js";

const t = words({
  en: { username: "Username", password: "Password", signIn: "Sign in" },
  pt: { username: "Usuário", password: "Senha", signIn: "Entrar" },
});

const client = new RunnelClient({ baseUrl: new URL(".", document.baseURI) });

/** @param {SubmitEvent} event */
async function signIn(event) {
  event.preventDefault();
  const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
  await client.login(String(form.get("username")), String(form.get("password")));
}

document.body.append(
  h(
    "form",
    { onsubmit: signIn },
    h("label", {}, t("username"), h("input", { name: "username", "data-testid": "username" })),
    h(
      "label",
      {},
      t("password"),
      h("input", { name: "password", type: "password", "data-testid": "password" }),
    ),
    h("button", { "data-testid": "sign-in" }, t("signIn")),
  ),
);
