/** How the server is reached, told quietly: nothing is said while all is well. */

import { h, setAttribute } from "../dom.js";
import { formatted, words } from "../words.js";

/** @import { RunnelClient } from "../../client.js" */

const t = words({
  en: {
    live: "Connected",
    reconnecting: "Reconnecting …",
    offline: "Offline",
    one: "1 message waits to be sent",
    many: "{count} messages wait to be sent",
  },
  pt: {
    live: "Conectado",
    reconnecting: "Reconectando …",
    offline: "Sem conexão",
    one: "1 mensagem espera para ser enviada",
    many: "{count} mensagens esperam para ser enviadas",
  },
});

export class Connection {
  #client;
  #text = h("span", { class: "connection-text" });
  element = h(
    "p",
    { class: "connection", role: "status", "data-testid": "connection" },
    h("span", { class: "connection-dot", "aria-hidden": "true" }),
    this.#text,
  );

  /** @param {RunnelClient} client */
  constructor(client) {
    this.#client = client;
    for (const type of ["state", "queue"]) client.addEventListener(type, () => this.#show());
    this.#show();
  }

  #show() {
    const { state } = this.#client;
    const count = queuedOf(this.#client);
    const waiting = count && (count === 1 ? t("one") : t("many", { count: formatted(count) }));
    const text = [t(state), waiting].filter(Boolean).join(" · ");
    if (this.#text.textContent !== text) this.#text.textContent = text;
    this.element.title = text;
    this.element.dataset.state = state;
    setAttribute(this.element, "data-queued", count || null);
  }
}

/** How many questions wait here to be sent. @param {RunnelClient} client */
export function queuedOf(client) {
  return client.queue.filter((answer) => answer.status === "queued").length;
}
