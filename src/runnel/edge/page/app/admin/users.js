/** The accounts: found, added, kept out and let in, given roles and passwords, deleted. */

import { h } from "../dom.js";
import { words } from "../words.js";
import { whyOf } from "../talk/faults.js";
import { confirmed } from "./confirming.js";
import { day, dayAndTime } from "./moments.js";
import { NewPassword } from "./new_password.js";
import { Changed, keepFocus, readList } from "./reading.js";
import { Table } from "./table.js";

/** @import { App } from "../app.js" */

const t = words({
  en: {
    title: "Accounts",
    search: "Search by name",
    add: "Add",
    addTitle: "Add a user",
    username: "Username",
    role: "Role",
    user: "User",
    admin: "Admin",
    name: "Name",
    state: "State",
    created: "Created",
    lastLogin: "Last sign-in",
    actions: "Actions",
    active: "Active",
    disabled: "Disabled",
    disable: "Disable",
    enable: "Enable",
    reset: "New password",
    makeAdmin: "Make admin",
    makeUser: "Make user",
    remove: "Delete",
    you: "you",
    never: "never",
    more: "Show more",
    none: "Nobody has such a name.",
    resetTitle: "A new password for {name}?",
    resetText: "The old one will not be good any more, and {name} is signed out everywhere.",
    removeTitle: "Delete {name}?",
    removeText:
      "All sessions, answers and files of {name} are deleted with the account. This cannot be undone.",
  },
  pt: {
    title: "Contas",
    search: "Procurar por nome",
    add: "Adicionar",
    addTitle: "Adicionar um usuário",
    username: "Usuário",
    role: "Papel",
    user: "Usuário",
    admin: "Administrador",
    name: "Nome",
    state: "Estado",
    created: "Criada em",
    lastLogin: "Última entrada",
    actions: "Ações",
    active: "Ativa",
    disabled: "Desativada",
    disable: "Desativar",
    enable: "Ativar",
    reset: "Nova senha",
    makeAdmin: "Tornar admin",
    makeUser: "Tornar usuário",
    remove: "Excluir",
    you: "você",
    never: "nunca",
    more: "Mostrar mais",
    none: "Ninguém tem um nome assim.",
    resetTitle: "Uma nova senha para {name}?",
    resetText: "A antiga deixará de valer, e {name} sairá de todos os lugares.",
    removeTitle: "Excluir {name}?",
    removeText:
      "Todas as sessões, respostas e arquivos de {name} serão excluídos com a conta. Não há como desfazer.",
  },
});

const PATH = "api/admin/users";
const PAGE = 50;
const TYPING_MS = 200;

export class Users {
  #app;
  #after;
  #wanted = PAGE;
  #typing = 0;
  #changed = new Changed();
  #search = h("input", {
    type: "search",
    class: "admin-input",
    placeholder: t("search"),
    "aria-label": t("search"),
    autocomplete: "off",
    "data-testid": "admin-search",
    oninput: () => this.#searchSoon(),
  });
  #name = h("input", {
    class: "admin-input",
    placeholder: t("username"),
    "aria-label": t("username"),
    required: true,
    maxlength: "64",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    "data-testid": "admin-new-username",
  });
  #role = h(
    "select",
    { class: "admin-input", "aria-label": t("role"), "data-testid": "admin-new-role" },
    h("option", { value: "user" }, t("user")),
    h("option", { value: "admin" }, t("admin")),
  );
  #add = h("button", { class: "admin-button primary", "data-testid": "admin-add" }, t("add"));
  #password = new NewPassword();
  #table = new Table(
    t("title"),
    /** @type {const} */ (["name", "role", "state", "created", "lastLogin", "actions"]).map(
      (name) => ({ name: t(name) }),
    ),
    "admin-users-table",
  );
  #more = h(
    "button",
    { type: "button", class: "admin-button", hidden: true, onclick: () => this.#showMore() },
    t("more"),
  );

  /** @param {App} app @param {() => void} after what is to be done once something was changed */
  constructor(app, after) {
    this.#app = app;
    this.#after = after;
    this.element = h(
      "div",
      {},
      h(
        "div",
        { class: "admin-bar" },
        this.#search,
        h(
          "form",
          {
            class: "admin-add",
            "aria-label": t("addTitle"),
            onsubmit: (/** @type {SubmitEvent} */ event) => this.#addOne(event),
          },
          this.#name,
          this.#role,
          this.#add,
        ),
      ),
      this.#password.element,
      this.#table.element,
      this.#more,
    );
  }

  async read() {
    const q = this.#search.value.trim() || null;
    const list = await readList(this.#app.client, PATH, "users", this.#wanted, { q });
    if (q !== (this.#search.value.trim() || null) || !this.#changed.has(list)) return;
    this.#more.hidden = !list.more;
    const rows = list.items.map((user) => this.#row(user));
    keepFocus(this.element, () => this.#table.set(rows, t("none")));
  }

  #searchSoon() {
    clearTimeout(this.#typing);
    this.#wanted = PAGE;
    this.#typing = setTimeout(this.#after, TYPING_MS);
  }

  #showMore() {
    this.#wanted += PAGE;
    this.#after();
  }

  /** @param {any} user */
  #row(user) {
    const own = user.id === this.#app.me.id;
    return {
      attributes: {
        "data-testid": "admin-user",
        "data-username": user.username,
        "data-disabled": String(user.disabled_at !== null),
      },
      cells: [
        [user.username, own && h("span", { class: "admin-badge" }, t("you"))],
        user.role === "admin" ? t("admin") : t("user"),
        user.disabled_at === null
          ? h("span", { class: "admin-good" }, t("active"))
          : h("span", { class: "admin-bad" }, t("disabled")),
        h("time", { datetime: user.created_at }, day(user.created_at)),
        user.last_login_at === null
          ? t("never")
          : h("time", { datetime: user.last_login_at }, dayAndTime(user.last_login_at)),
        own ? null : h("div", { class: "admin-actions" }, ...this.#actions(user)),
      ],
    };
  }

  /** @param {any} user */
  #actions(user) {
    const disabled = user.disabled_at !== null;
    const role = user.role === "admin" ? "user" : "admin";
    return [
      this.#action(user, "disable", disabled ? t("enable") : t("disable"), () =>
        this.#change(user, { disabled: !disabled }),
      ),
      this.#action(user, "reset", t("reset"), () => this.#reset(user)),
      this.#action(user, "role", role === "admin" ? t("makeAdmin") : t("makeUser"), () =>
        this.#change(user, { role }),
      ),
      this.#action(user, "delete", t("remove"), () => this.#remove(user)),
    ];
  }

  /** @param {any} user @param {string} name @param {string} text @param {() => Promise<void>} act */
  #action(user, name, text, act) {
    const button = h(
      "button",
      {
        type: "button",
        class: name === "delete" ? "admin-button small danger" : "admin-button small",
        "data-testid": `admin-${name}`,
        "data-key": `${name} ${user.id}`,
        "aria-label": `${text}: ${user.username}`,
        onclick: async () => {
          // Not disabled: that would take the focus from it.
          if (button.ariaBusy) return;
          button.ariaBusy = "true";
          await this.#attempt(act);
          button.ariaBusy = null;
        },
      },
      text,
    );
    return button;
  }

  /** @param {SubmitEvent} event */
  async #addOne(event) {
    event.preventDefault();
    this.#add.disabled = true;
    await this.#attempt(async () => {
      const body = { username: this.#name.value.trim(), role: this.#role.value };
      const made = await this.#app.client.call("POST", PATH, { body });
      this.#name.value = "";
      this.#role.value = "user";
      this.#password.show(made.username, made.password);
    });
    this.#add.disabled = false;
  }

  /** @param {any} user @param {{ disabled?: boolean, role?: string }} body */
  async #change(user, body) {
    await this.#app.client.call("PATCH", `${PATH}/${user.id}`, { body });
  }

  /** @param {any} user */
  async #reset(user) {
    const name = user.username;
    const sure = await confirmed(t("resetTitle", { name }), t("resetText", { name }), t("reset"));
    if (!sure) return;
    const { password } = await this.#app.client.call("POST", `${PATH}/${user.id}/password`);
    this.#password.show(name, password);
  }

  /** @param {any} user */
  async #remove(user) {
    const name = user.username;
    const sure = await confirmed(
      t("removeTitle", { name }),
      t("removeText", { name }),
      t("remove"),
    );
    if (sure) await this.#app.client.call("DELETE", `${PATH}/${user.id}`);
  }

  /** @param {() => Promise<void>} act */
  async #attempt(act) {
    try {
      await act();
    } catch (error) {
      this.#app.tell(whyOf(error), "error");
    }
    this.#after();
  }
}
