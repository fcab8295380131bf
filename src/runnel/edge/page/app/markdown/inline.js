/**
 * What stands inside a block: emphasis, code, links. marked reads it, DOMPurify makes the elements.
 *
 * HTML is text: it is shown as the model wrote it. A link leads to http, https or mail, is opened
 * in a new tab and tells its address; any other is shown as it was written. A picture is a link.
 */

import DOMPurify from "../../vendor/purify.js";
import { Lexer, Parser, Renderer, Tokenizer, getDefaults } from "../../vendor/marked.js";

/** @import { Tokens, Links } from "../../vendor/marked.js" */

/** Text without any of these, and without an address, is nothing but text. */
const SPECIAL = /[\\`*_~[\]<&@]|https?:|ftp:|www\./i;
/** The beginning has to be literal: what an entity hides is refused. */
const ADDRESS = /^(?:https?:\/\/[^/]|mailto:)/i;
const BREAK = /^<br\s*\/?>$/i;

class OwnTokenizer extends Tokenizer {
  /** Cells have no other way to break a line. */
  inCell = false;

  /** @override @param {string} src @returns {any} */
  tag(src) {
    const raw = this.rules.inline.tag.exec(src)?.[0];
    if (raw === undefined) return undefined;
    if (this.inCell && BREAK.test(raw)) return { type: "br", raw };
    return { type: "text", raw, text: raw, escaped: false };
  }
}

class OwnRenderer extends Renderer {
  /** @override @param {Tokens.Text | Tokens.Escape} token */
  text(token) {
    return token.type === "escape" ? exact(token.text) : escaped(token.text);
  }

  /** @override @param {Tokens.Codespan} token */
  codespan({ text }) {
    return `<code>${exact(text)}</code>`;
  }

  /** Line breaks are shown anyway: they stay in the text. @override @param {Tokens.Br} token */
  br({ raw }) {
    return BREAK.test(raw) ? "<br>" : raw.replace("\\", "");
  }

  /** @override @param {Tokens.Link} token */
  link({ href, raw, tokens }) {
    if (!ADDRESS.test(href)) return exact(raw);
    return `<a href="${escaped(href)}">${this.parser.parseInline(tokens)}</a>`;
  }

  /** @override @param {Tokens.Image} token */
  image({ href, raw, text }) {
    if (!ADDRESS.test(href)) return exact(raw);
    return `<a data-host href="${escaped(href)}">${escaped(text)}</a>`;
  }

  /** @override @param {Tokens.HTML | Tokens.Tag} token */
  html({ raw }) {
    return exact(raw);
  }
}

const tokenizer = new OwnTokenizer();
const options = { ...getDefaults(), gfm: true, tokenizer, renderer: new OwnRenderer() };

DOMPurify.setConfig({
  ALLOWED_TAGS: ["a", "br", "code", "del", "em", "strong"],
  ALLOWED_ATTR: ["data-host", "href"],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  ALLOWED_URI_REGEXP: ADDRESS,
  RETURN_DOM_FRAGMENT: true,
});

/**
 * The nodes for a text, or the text itself where it is nothing but that.
 * @param {string} text @param {Links} links what references in the text lead to, by label
 * @param {boolean} inCell of a table
 * @returns {Node | string}
 */
export function inline(text, links, inCell) {
  if (!SPECIAL.test(text)) return text;
  tokenizer.inCell = inCell;
  let html;
  try {
    const lexer = new Lexer(options);
    lexer.tokens.links = links;
    html = Parser.parseInline(lexer.inlineTokens(text), options);
  } catch {
    return text; // nested deeper than the stack
  }
  const fragment = /** @type {DocumentFragment} */ (
    /** @type {unknown} */ (DOMPurify.sanitize(html))
  );
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    link.title = link.href;
    if (link.hasAttribute("data-host")) link.dataset.host = link.host;
  }
  return fragment;
}

/** As HTML, with the entities that stand in it. @param {string} text */
function escaped(text) {
  return text
    .replace(/&(?!(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|\w{1,40});)/g, "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

/** As HTML that shows exactly this. @param {string} text */
function exact(text) {
  return escaped(text.replaceAll("&", "&amp;"));
}
