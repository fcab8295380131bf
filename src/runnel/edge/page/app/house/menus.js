/** Menus that open from a button: by pointer, by keys, and read out as menus. */

import { h } from "../dom.js";

/**
 * `checked` makes it one of several that can be chosen; `href` a link.
 * @typedef {object} MenuItem
 * @property {string} label
 * @property {() => void} [run]
 * @property {string} [href]
 * @property {boolean} [checked]
 * @property {boolean} [danger]
 * @property {string} [testid]
 */

/** @typedef {{ label: string, items: MenuItem[] }} MenuGroup one with a heading */

/** Kept between the menu and the edge of the window, in pixels. */
const MARGIN = 8;

/**
 * Makes a button open a menu, which is made anew each time.
 * @param {HTMLButtonElement} button
 * @param {() => (MenuItem | MenuGroup | Node)[]} items a node is shown as it is
 */
export function opensMenu(button, items) {
  button.setAttribute("aria-haspopup", "menu");
  button.setAttribute("aria-expanded", "false");
  /** @type {HTMLElement | null} */
  let shown = null;
  let wasOpen = false;
  // A list that is put in order anew takes an open menu away without a word.
  const isOpen = () => shown?.matches(":popover-open") ?? false;
  const open = () => {
    const menu = (shown = show(button, items()));
    button.setAttribute("aria-expanded", "true");
    menu.addEventListener("toggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState !== "closed") return;
      button.setAttribute("aria-expanded", "false");
      if (menu.contains(document.activeElement)) button.focus();
      menu.remove();
      shown = null;
    });
  };
  // Pressing the button closes an open menu before it is clicked: that was all that was meant.
  button.addEventListener("pointerdown", () => {
    wasOpen = isOpen();
  });
  button.addEventListener("click", () => {
    if (!wasOpen) open();
    wasOpen = false;
  });
  button.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    event.stopPropagation();
    if (!isOpen()) open();
  });
}

/** @param {HTMLButtonElement} button @param {(MenuItem | MenuGroup | Node)[]} items */
function show(button, items) {
  const menu = h(
    "div",
    {
      class: "menu",
      role: "menu",
      popover: "auto",
      "aria-label": button.getAttribute("aria-label") ?? button.textContent,
    },
    ...items.map((item) => piece(item)),
  );
  menu.addEventListener("keydown", (event) => move(menu, event));
  menu.addEventListener("click", (event) => {
    if (/** @type {Element} */ (event.target).closest("[role^=menuitem]")) menu.hidePopover();
  });
  // Beside its button, so that Tab goes on from there; dialogs make the rest of the page inert.
  button.after(menu);
  menu.showPopover();
  place(menu, button);
  entries(menu)[0]?.focus();
  return menu;
}

/** @param {MenuItem | MenuGroup | Node} item @returns {Node} */
function piece(item) {
  if (item instanceof Node) return item;
  if (!("items" in item)) return entry(item);
  return h(
    "div",
    { role: "group", class: "menu-group", "aria-label": item.label },
    h("p", { class: "menu-label", "aria-hidden": "true" }, item.label),
    ...item.items.map((each) => entry(each)),
  );
}

/** @param {MenuItem} item */
function entry({ label, run, href, checked, danger, testid }) {
  const attributes = {
    class: "menu-item",
    role: checked === undefined ? "menuitem" : "menuitemradio",
    "aria-checked": checked === undefined ? null : String(checked),
    "data-kind": danger ? "danger" : null,
    "data-testid": testid,
    tabindex: -1,
    onclick: run ?? (() => {}),
  };
  if (href === undefined) return h("button", { type: "button", ...attributes }, label);
  return h("a", { href, target: "_blank", rel: "noopener", ...attributes }, label);
}

/** @param {HTMLElement} menu */
function entries(menu) {
  return /** @type {HTMLElement[]} */ ([...menu.querySelectorAll("[role^=menuitem]")]);
}

/** @param {HTMLElement} menu @param {KeyboardEvent} event */
function move(menu, event) {
  const all = entries(menu);
  const now = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  /** @type {Record<string, number>} */
  const to = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: all.length - 1 };
  if (event.key === "Tab") menu.hidePopover();
  // The browser closes it, and nothing else is to be closed by the same key.
  if (event.key === "Escape") event.stopPropagation();
  if (!(event.key in to)) return;
  event.preventDefault();
  event.stopPropagation();
  all[(to[event.key] + all.length) % all.length]?.focus();
}

/** Under its button, or above it where there is more room. @param {HTMLElement} menu
 *  @param {HTMLElement} button */
function place(menu, button) {
  const from = button.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const left = Math.min(Math.max(MARGIN, from.right - width), innerWidth - width - MARGIN);
  const below = from.bottom + height + MARGIN <= innerHeight;
  const top = below ? from.bottom + 4 : Math.max(MARGIN, from.top - height - 4);
  menu.style.setProperty("left", `${Math.max(MARGIN, left)}px`);
  menu.style.setProperty("top", `${top}px`);
}
