/** What can be done by keys from anywhere in the page, and the list of it. */

import { h } from "../dom.js";
import { words } from "../words.js";
import { showDialog } from "./dialogs.js";

const t = words({
  en: {
    title: "Keyboard shortcuts",
    search: "Search sessions",
    newSession: "New session",
    composer: "To the question",
    arrows: "Through the sessions",
    rename: "Rename the session",
    remove: "Delete the session",
    send: "Send",
    line: "New line",
    stop: "Stop the answer; close menus and dialogs",
    help: "This list",
    or: "or",
  },
  pt: {
    title: "Atalhos de teclado",
    search: "Buscar sessões",
    newSession: "Nova sessão",
    composer: "Ir para a pergunta",
    arrows: "Percorrer as sessões",
    rename: "Renomear a sessão",
    remove: "Excluir a sessão",
    send: "Enviar",
    line: "Nova linha",
    stop: "Parar a resposta; fechar menus e diálogos",
    help: "Esta lista",
    or: "ou",
  },
});

/** @typedef {{ search: () => void, newSession: () => void, composer: () => void }} Shortcuts */

/**
 * Listens for them until the signal is aborted.
 * @param {Shortcuts} shortcuts
 * @param {AbortSignal} signal
 */
export function listenForShortcuts(shortcuts, signal) {
  addEventListener(
    "keydown",
    (event) => {
      if (event.defaultPrevented || event.isComposing) return;
      if (document.querySelector("dialog[open], .sign-in")) return;
      const run = wanted(event, shortcuts);
      if (!run) return;
      event.preventDefault();
      run();
    },
    { signal },
  );
}

/** @param {KeyboardEvent} event @param {Shortcuts} shortcuts */
function wanted(event, { search, newSession, composer }) {
  const { key, shiftKey, altKey } = event;
  const command = event.ctrlKey || event.metaKey;
  if (command && !altKey && !shiftKey && key.toLowerCase() === "k") return search;
  if (command && !altKey && shiftKey && key.toLowerCase() === "o") return newSession;
  // The rest are letters, which are text where one writes.
  if (command || altKey || writes(event.target)) return null;
  if (key === "/") return search;
  if (key === "?") return showShortcuts;
  if (key === "c") return composer;
  return null;
}

/** @param {EventTarget | null} target */
function writes(target) {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || target.matches("input, textarea, select"))
  );
}

export function showShortcuts() {
  const command = /Mac|iPhone|iPad/.test(navigator.userAgent) ? "⌘" : "Ctrl";
  /** @type {[string, string[][]][]} */
  const all = [
    [t("search"), [[command, "K"], ["/"]]],
    [t("newSession"), [[command, "Shift", "O"]]],
    [t("composer"), [["C"]]],
    [t("arrows"), [["↑"], ["↓"]]],
    [t("rename"), [["F2"]]],
    [t("remove"), [["Del"]]],
    [t("send"), [["Enter"]]],
    [t("line"), [["Shift", "Enter"]]],
    [t("stop"), [["Esc"]]],
    [t("help"), [["?"]]],
  ];
  const rows = all.flatMap(([what, ways]) => [
    h("dt", {}, what),
    h(
      "dd",
      {},
      ...ways.flatMap((keys, number) => [number > 0 && ` ${t("or")} `, ...pressed(keys)]),
    ),
  ]);
  showDialog(t("title"), [h("dl", { class: "shortcuts" }, ...rows)]);
}

/** @param {string[]} keys */
function pressed(keys) {
  return keys.flatMap((key, number) => [number > 0 && "+", h("kbd", {}, key)]);
}
