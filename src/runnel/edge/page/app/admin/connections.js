/** Who is connected by WebSocket now, on all instances. */

import { h } from "../dom.js";
import { formatted, words } from "../words.js";
import { dayAndTime } from "./moments.js";
import { Changed, keepFocus, readList } from "./reading.js";
import { Table } from "./table.js";

/** @import { RunnelClient } from "../../client.js" */

const t = words({
  en: {
    title: "Live connections",
    user: "User",
    channel: "Channel",
    since: "Since",
    address: "Address",
    agent: "Program",
    session: "a session",
    completions: "questions",
    own: "all sessions",
    more: "Show more",
    none: "Nobody is connected by WebSocket.",
    count: "{count} connections",
    countMore: "more than {count} connections",
  },
  pt: {
    title: "Conexões abertas",
    user: "Usuário",
    channel: "Canal",
    since: "Desde",
    address: "Endereço",
    agent: "Programa",
    session: "uma sessão",
    completions: "perguntas",
    own: "todas as sessões",
    more: "Mostrar mais",
    none: "Ninguém está conectado por WebSocket.",
    count: "{count} conexões",
    countMore: "mais de {count} conexões",
  },
});

const PAGE = 100;
/** @type {Record<string, string>} */
const CHANNELS = { session: t("session"), completions: t("completions"), user: t("own") };

export class Connections {
  #client;
  #wanted = PAGE;
  #changed = new Changed();
  #count = h("p", { class: "admin-note" });
  #table = new Table(
    t("title"),
    ["user", "channel", "since", "address", "agent"].map((name) => ({
      name: t(/** @type {"user"} */ (name)),
    })),
    "admin-connections-table",
  );
  #more = h(
    "button",
    {
      type: "button",
      class: "admin-button",
      hidden: true,
      onclick: () => {
        this.#wanted += PAGE;
        this.read().catch(() => {}); // the next look tells of it
      },
    },
    t("more"),
  );

  /** @param {RunnelClient} client */
  constructor(client) {
    this.#client = client;
    this.element = h("div", {}, this.#count, this.#table.element, this.#more);
  }

  async read() {
    const list = await readList(this.#client, "api/admin/connections", "connections", this.#wanted);
    if (!this.#changed.has(list)) return;
    const { items, more } = list;
    this.#more.hidden = !more;
    this.#count.textContent = t(more ? "countMore" : "count", { count: formatted(items.length) });
    const rows = items.map((one) => ({
      attributes: { "data-testid": "admin-connection" },
      cells: [
        one.username,
        [
          CHANNELS[one.channel] ?? one.channel,
          one.session_id && h("code", { class: "admin-id" }, one.session_id),
        ],
        h("time", { datetime: one.connected_at }, dayAndTime(one.connected_at)),
        one.address ?? "–",
        h("span", { class: "admin-agent" }, one.user_agent ?? "–"),
      ],
    }));
    keepFocus(this.element, () => this.#table.set(rows, t("none")));
  }
}
