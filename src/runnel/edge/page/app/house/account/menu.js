/** The menu of who is signed in: the own account, how the page looks, and the way out. */

import { h } from "../../dom.js";
import { LANGUAGES, choose, language, words } from "../../words.js";
import { whyOf } from "../../talk/faults.js";
import { icon } from "../../icons.js";
import { opensMenu } from "../menus.js";
import { showShortcuts } from "../shortcuts.js";
import { THEMES, chooseTheme, chosenTheme } from "../theme.js";
import { showKeys } from "./keys.js";
import { showLimits } from "./limits.js";
import { showPassword } from "./password.js";
import { showUsage } from "./usage.js";

/** @import { RunnelClient } from "../../../client.js" */

const t = words({
  en: {
    account: "Account: {name}",
    usage: "Usage …",
    password: "Change password …",
    keys: "API keys …",
    admin: "Administration",
    theme: "Theme",
    system: "As the system has it",
    light: "Light",
    dark: "Dark",
    language: "Language",
    shortcuts: "Keyboard shortcuts …",
    docs: "API documentation",
    signOut: "Sign out",
    signIn: "Sign in",
  },
  pt: {
    account: "Conta: {name}",
    usage: "Uso …",
    password: "Mudar a senha …",
    keys: "Chaves de API …",
    admin: "Administração",
    theme: "Tema",
    system: "Como no sistema",
    light: "Claro",
    dark: "Escuro",
    language: "Idioma",
    shortcuts: "Atalhos de teclado …",
    docs: "Documentação da API",
    signOut: "Sair",
    signIn: "Entrar",
  },
});

const LANGUAGE_NAMES = { en: "English", pt: "Português" };

/**
 * @typedef {object} AccountWishes
 * @property {() => void} signOut
 * @property {() => void} signIn of a guest
 * @property {() => void} admin
 * @property {(text: string, kind?: "info" | "error") => void} tell
 */

/**
 * @param {RunnelClient} client
 * @param {any} me
 * @param {boolean} guest whether nobody has signed in
 * @param {AccountWishes} wishes
 */
export function accountButton(client, me, guest, wishes) {
  const { username, role } = me;
  const button = h(
    "button",
    {
      type: "button",
      class: "account",
      "data-testid": "account",
      "aria-label": t("account", { name: username }),
    },
    icon("account"),
    h("span", { class: "account-name", dir: "auto" }, username),
  );
  opensMenu(button, () => [
    limitsNote(client),
    { label: t("usage"), testid: "usage", run: () => showUsage(client) },
    ...(guest
      ? []
      : [
          { label: t("password"), testid: "change-password", run: () => showPassword(client, me) },
          { label: t("keys"), testid: "keys", run: () => showKeys(client) },
        ]),
    ...(role === "admin" ? [{ label: t("admin"), testid: "admin", run: wishes.admin }] : []),
    {
      label: t("theme"),
      items: THEMES.map((theme) => ({
        label: t(theme),
        checked: theme === chosenTheme(),
        testid: `theme-${theme}`,
        run: () => chooseTheme(theme),
      })),
    },
    {
      label: t("language"),
      items: LANGUAGES.map((each) => ({
        label: LANGUAGE_NAMES[each],
        checked: each === language,
        testid: `language-${each}`,
        run: () => choose(each),
      })),
    },
    { label: t("shortcuts"), testid: "shortcuts", run: showShortcuts },
    { label: t("docs"), href: "docs" },
    guest
      ? { label: t("signIn"), testid: "to-sign-in", run: wishes.signIn }
      : { label: t("signOut"), testid: "sign-out", run: wishes.signOut },
  ]);
  return button;
}

/** How the account stands with its limit, as soon as it is known. @param {RunnelClient} client */
function limitsNote(client) {
  const note = h("p", { class: "menu-note", role: "none" }, "…");
  client.me().then(
    ({ limits }) => {
      note.textContent = showLimits(limits);
    },
    (error) => {
      note.textContent = whyOf(error);
    },
  );
  return note;
}
