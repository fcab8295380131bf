/** Lists of the admin's API, which come in pages. */

/** @import { RunnelClient } from "../../client.js" */

const PAGE = 100;

/**
 * So many of a list from its beginning, and whether there are more. Raises RunnelError.
 * @param {RunnelClient} client
 * @param {string} path
 * @param {string} plural what the list is called in the answer
 * @param {number} wanted
 * @param {Record<string, string | null>} [query]
 * @returns {Promise<{ items: any[], more: boolean }>}
 */
export async function readList(client, path, plural, wanted, query = {}) {
  /** @type {any[]} */
  const items = [];
  let cursor = null;
  do {
    const limit = Math.min(PAGE, wanted - items.length);
    const page = await client.call("GET", path, { query: { ...query, limit, cursor } });
    items.push(...page[plural]);
    cursor = page.next_cursor;
  } while (cursor !== null && items.length < wanted);
  return { items, more: cursor !== null };
}

/**
 * Shows again what is shown already only if it has changed, so that nobody's focus, selection or
 * place in a long list is lost.
 */
export class Changed {
  #last = "";

  /** @param {unknown} value */
  has(value) {
    const text = JSON.stringify(value);
    if (text === this.#last) return false;
    this.#last = text;
    return true;
  }
}

/**
 * Does what replaces elements, and gives the focus back to the one with the same `data-key`.
 * @param {HTMLElement} around
 * @param {() => void} replace
 */
export function keepFocus(around, replace) {
  const focused = document.activeElement;
  const key =
    focused instanceof HTMLElement && around.contains(focused) ? focused.dataset.key : undefined;
  replace();
  if (key === undefined) return;
  for (const each of around.querySelectorAll("[data-key]")) {
    if (each instanceof HTMLElement && each.dataset.key === key) each.focus();
  }
}
