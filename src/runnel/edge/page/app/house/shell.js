/** Where things stand: the list at the left, the header, and the main part. On a phone the list is a drawer. */

import { h } from "../dom.js";
import { words } from "../words.js";
import { icon, iconButton } from "../icons.js";
import { emblem } from "./emblem.js";

const t = words({
  en: {
    nav: "Sessions",
    newSession: "New session",
    showList: "Show sessions",
    hideList: "Hide sessions",
    settings: "Settings",
    skip: "To the question",
  },
  pt: {
    nav: "Sessões",
    newSession: "Nova sessão",
    showList: "Mostrar sessões",
    hideList: "Ocultar sessões",
    settings: "Configurações",
    skip: "Ir para a pergunta",
  },
});

/** Below it there is no room for two columns. */
const NARROW = matchMedia("(width <= 700px)");

/**
 * @typedef {object} Parts
 * @property {HTMLElement} list
 * @property {HTMLElement} account
 * @property {HTMLElement} model
 * @property {HTMLElement} connection
 * @property {() => void} newSession
 * @property {() => void} settings
 * @property {() => void} composer puts the cursor there
 */

export class Shell {
  #title = h("h1", { class: "bar-title", dir: "auto", "data-testid": "session-title" });
  #main = h("main", { id: "main", class: "main" });
  #settings;
  #side;
  #stage;
  #opener;
  #abort = new AbortController();

  /** @param {Parts} parts */
  constructor(parts) {
    this.#opener = iconButton("list", t("showList"), {
      class: "icon-button opener",
      "aria-expanded": "false",
      "aria-controls": "side",
      "data-testid": "open-list",
      onclick: () => this.openDrawer(),
    });
    const newSession = h(
      "button",
      {
        type: "button",
        class: "button new-session",
        "data-testid": "new-session",
        onclick: parts.newSession,
      },
      icon("plus"),
      t("newSession"),
    );
    const closer = iconButton("close", t("hideList"), {
      class: "icon-button closer",
      onclick: () => this.closeDrawer(),
    });
    this.#side = h(
      "nav",
      { class: "side", id: "side", "aria-label": t("nav") },
      h("div", { class: "side-head" }, emblem(), h("span", { class: "brand" }, "Runnel"), closer),
      newSession,
      parts.list,
      h("div", { class: "side-foot" }, parts.account),
    );
    this.#settings = iconButton("sliders", t("settings"), {
      class: "icon-button settings-button",
      "data-testid": "settings",
      onclick: parts.settings,
    });
    this.#stage = h(
      "div",
      { class: "stage" },
      h(
        "header",
        { class: "bar" },
        this.#opener,
        this.#title,
        parts.connection,
        h("div", { class: "bar-tools" }, parts.model, this.#settings),
      ),
      this.#main,
    );
    const skip = h(
      "a",
      {
        class: "skip",
        href: "#main",
        onclick: (/** @type {Event} */ event) => {
          event.preventDefault();
          parts.composer();
        },
      },
      t("skip"),
    );
    this.element = h(
      "div",
      { class: "house" },
      skip,
      this.#side,
      h("div", { class: "shade", onclick: () => this.closeDrawer() }),
      this.#stage,
    );
    this.#side.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented) this.closeDrawer();
    });
    NARROW.addEventListener("change", () => this.closeDrawer(), { signal: this.#abort.signal });
  }

  /** @param {string} title */
  set title(title) {
    this.#title.textContent = title;
    document.title = title === "Runnel" ? title : `${title} · Runnel`;
  }

  /** Whether there are params that one may have forgotten. @param {boolean} set */
  set marked(set) {
    this.#settings.toggleAttribute("data-marked", set);
  }

  /** What is in the main part. @param {HTMLElement} element @param {"talk" | "admin"} kind */
  show(element, kind) {
    this.element.dataset.view = kind;
    if (this.#main.firstElementChild !== element) this.#main.replaceChildren(element);
  }

  openDrawer() {
    this.element.dataset.drawer = "open";
    this.#stage.inert = true;
    this.#opener.setAttribute("aria-expanded", "true");
    /** @type {HTMLElement | null} */ (this.#side.querySelector(".new-session"))?.focus();
  }

  closeDrawer() {
    if (!("drawer" in this.element.dataset)) return;
    const inside = this.#side.contains(document.activeElement);
    delete this.element.dataset.drawer;
    this.#stage.inert = false;
    this.#opener.setAttribute("aria-expanded", "false");
    if (inside) this.#opener.focus();
  }

  /** The list, wherever it is. */
  showList() {
    if (NARROW.matches) this.openDrawer();
  }

  leave() {
    this.#abort.abort();
  }
}
