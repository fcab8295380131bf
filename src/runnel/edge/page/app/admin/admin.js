/** The admin view: what the server does and for whom. It asks only while somebody looks at it. */

import { h, setAttribute } from "../dom.js";
import { words } from "../words.js";
import { Connections } from "./connections.js";
import { Models } from "./models.js";
import { Overview } from "./overview.js";
import { Polling } from "./polling.js";
import { Users } from "./users.js";

/** @import { App } from "../app.js" */

/**
 * One of the views. `read` brings it up to date; it raises RunnelError.
 * @typedef {{ element: HTMLElement, read(): Promise<void> }} View
 */

const t = words({
  en: {
    title: "Administration",
    overview: "Overview",
    users: "Users",
    models: "Models",
    connections: "Connections",
    notAdmin: "This is for admins.",
    stale: "The server cannot be asked just now; what is shown may be old.",
  },
  pt: {
    title: "Administração",
    overview: "Visão geral",
    users: "Usuários",
    models: "Modelos",
    connections: "Conexões",
    notAdmin: "Isto é só para administradores.",
    stale: "O servidor não responde agora; o que se vê pode estar desatualizado.",
  },
});

const NAMES = /** @type {const} */ (["overview", "users", "models", "connections"]);
/** @typedef {(typeof NAMES)[number]} Name */

export class Admin {
  /** @type {Record<Name, View>} */ #views;
  /** @type {Record<Name, HTMLButtonElement>} */ #tabs;
  /** @type {Name} */ #current = "overview";
  #fault = h("p", { class: "admin-fault", role: "status", "data-testid": "admin-fault" });
  #polling = new Polling(() => this.#read());

  /** @param {App} app */
  constructor(app) {
    styled();
    const changed = () => this.#polling.now();
    this.#views = {
      overview: new Overview(app.client),
      users: new Users(app, changed),
      models: new Models(app, changed),
      connections: new Connections(app.client),
    };
    this.#tabs = {
      overview: this.#tab("overview"),
      users: this.#tab("users"),
      models: this.#tab("models"),
      connections: this.#tab("connections"),
    };
    this.element = h(
      "section",
      { class: "admin", "aria-label": t("title"), "data-testid": "admin" },
      h(
        "div",
        { class: "admin-inside" },
        h(
          "div",
          {
            class: "admin-tabs",
            role: "tablist",
            "aria-label": t("title"),
            onkeydown: (/** @type {KeyboardEvent} */ event) => this.#move(event),
          },
          ...NAMES.map((name) => this.#tabs[name]),
        ),
        this.#fault,
        ...NAMES.map((name) =>
          h(
            "div",
            {
              id: `admin-panel-${name}`,
              class: "admin-panel",
              role: "tabpanel",
              tabindex: "0",
              "aria-labelledby": `admin-tab-${name}`,
              "data-testid": `admin-${name}`,
              hidden: name !== this.#current,
            },
            this.#views[name].element,
          ),
        ),
      ),
    );
    this.#mark();
  }

  /** It is in the document, and looked at. */
  show() {
    this.#polling.begin();
  }

  /** It is not looked at any more. */
  hide() {
    this.#polling.end();
  }

  /** @param {Name} name */
  #tab(name) {
    return h(
      "button",
      {
        type: "button",
        id: `admin-tab-${name}`,
        role: "tab",
        "aria-controls": `admin-panel-${name}`,
        "data-testid": `admin-tab-${name}`,
        onclick: () => this.#open(name),
      },
      t(name),
    );
  }

  /** @param {Name} name */
  #open(name) {
    this.#current = name;
    this.#mark();
    this.#polling.now();
  }

  #mark() {
    for (const name of NAMES) {
      const tab = this.#tabs[name];
      setAttribute(tab, "aria-selected", String(name === this.#current));
      tab.tabIndex = name === this.#current ? 0 : -1;
      const panel = this.#views[name].element.parentElement;
      if (panel) panel.hidden = name !== this.#current;
    }
  }

  /** As tabs are walked with the keyboard. @param {KeyboardEvent} event */
  #move(event) {
    const at = NAMES.indexOf(this.#current);
    const to = {
      ArrowRight: at + 1,
      ArrowLeft: at - 1,
      Home: 0,
      End: NAMES.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const name = NAMES[(to + NAMES.length) % NAMES.length];
    this.#open(name);
    this.#tabs[name].focus();
  }

  async #read() {
    try {
      await this.#views[this.#current].read();
      this.#tell("");
    } catch (error) {
      const { code } = /** @type {{ code?: string }} */ (error);
      if (code === undefined) throw error;
      this.#tell(code === "forbidden" ? t("notAdmin") : t("stale"));
    }
  }

  /** @param {string} text */
  #tell(text) {
    if (this.#fault.textContent !== text) this.#fault.textContent = text;
  }
}

/** Only who sees the view loads how it looks. */
function styled() {
  const href = new URL("../../style/admin.css", import.meta.url).href;
  if (document.querySelector(`link[href="${href}"]`)) return;
  document.head.append(h("link", { rel: "stylesheet", href }));
}
