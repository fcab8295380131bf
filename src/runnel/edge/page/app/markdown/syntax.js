/** How a line of Markdown begins: what tells the kinds of blocks apart, and widths of indents. */

const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+([^\n]*))?$/;
export const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
export const QUOTE = /^ {0,3}>/;
export const UNDERLINE = /^ {0,3}(?:(=+)|-+)[ \t]*$/;
const FENCE = /^( {0,3})(`{3,}|~{3,})([^\n]*)$/;
const ITEM = /^( {0,3})(?:([-+*])|(\d{1,9})([.)]))(?=[ \t]|$)/;
const TASK = /^\[([ xX])\][ \t]+(?=\S)/;
const DEFINITION =
  /^ {0,3}\[(?!\^)((?:[^[\]\\]|\\.){1,200})\]:[ \t]*(?:<([^<>]*)>|([^\s<]\S*))(?:[ \t]+(?:"[^"]*"|'[^']*'|\([^()]*\)))?[ \t]*$/;
const DELIMITERS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/** @param {string} text */
export const isBlank = (text) => !/[^ \t]/.test(text);

/** The columns of white space that a line begins with. @param {string} text */
export function indentOf(text) {
  let columns = 0;
  for (const character of text) {
    if (character === " ") columns += 1;
    else if (character === "\t") columns += 4 - (columns % 4);
    else break;
  }
  return columns;
}

/**
 * A line without so many columns of the white space that it begins with; a tab may be cut.
 * @param {string} text @param {number} columns
 */
export function unindented(text, columns) {
  let column = 0;
  let at = 0;
  while (column < columns && at < text.length) {
    if (text[at] === " ") column += 1;
    else if (text[at] === "\t") column += 4 - (column % 4);
    else break;
    at += 1;
  }
  return " ".repeat(Math.max(0, column - columns)) + text.slice(at);
}

/** @param {string} text */
export function headingOf(text) {
  const found = HEADING.exec(text);
  if (!found) return null;
  const content = (found[2] ?? "").trim();
  return { level: found[1]?.length ?? 1, text: content.replace(/(?:^|[ \t]+)#+$/, "") };
}

/** What stands behind a quote's `>`. @param {string} text */
export function quoted(text) {
  return unindented(text.slice(text.indexOf(">") + 1), 1);
}

/**
 * @typedef {{ indent: number, mark: string, length: number, language: string }} Fence
 * @param {string} text @returns {Fence | null}
 */
export function fenceOf(text) {
  const found = FENCE.exec(text);
  if (!found) return null;
  const [, indent = "", marks = "", info = ""] = found;
  if (marks.startsWith("`") && info.includes("`")) return null;
  const language = info.trim().split(/\s/, 1)[0] ?? "";
  return { indent: indent.length, mark: marks.slice(0, 1), length: marks.length, language };
}

/** Does the line close what the fence has opened? @param {string} text @param {Fence} fence */
export function closes(text, fence) {
  const found = FENCE.exec(text);
  if (!found) return false;
  const [, , marks = "", info = ""] = found;
  return marks.startsWith(fence.mark) && marks.length >= fence.length && isBlank(info);
}

/**
 * An item of a list: what its list is made of (items with other marks make another list), how far
 * its content is indented, and what stands in its first line.
 * @typedef {object} Item
 * @property {string} mark `-`, `+`, `*`, `.` or `)`
 * @property {number | null} number
 * @property {number} indent
 * @property {string} rest
 * @property {boolean} task
 */

/** @param {string} text @returns {Item | null} */
export function itemOf(text) {
  const found = ITEM.exec(text);
  if (!found) return null;
  const [whole, , bullet, digits, delimiter] = found;
  const behind = text.slice(whole.length);
  const space = indentOf(behind);
  const empty = isBlank(behind);
  const padding = empty || space > 4 ? 1 : space;
  const rest = empty ? "" : unindented(behind, padding);
  const task = TASK.exec(rest);
  return {
    mark: bullet ?? delimiter ?? "",
    number: digits === undefined ? null : Number(digits),
    indent: whole.length + padding,
    rest: task ? `${task[1] === " " ? "☐" : "☑"} ${rest.slice(task[0].length)}` : rest,
    task: task !== null,
  };
}

/** `[label]: address`. @param {string} text @returns {{ label: string, href: string } | null} */
export function definitionOf(text) {
  const found = DEFINITION.exec(text);
  return found && { label: found[1] ?? "", href: found[2] ?? found[3] ?? "" };
}

/** @typedef {"" | "left" | "center" | "right"} Align */

/**
 * How the columns of a table are aligned, by the line below its head.
 * @param {string} text @returns {Align[] | null}
 */
export function alignments(text) {
  if (!text.includes("|") || !DELIMITERS.test(text)) return null;
  return cellsOf(text).map((cell) => {
    if (cell.endsWith(":")) return cell.startsWith(":") ? "center" : "right";
    return cell.startsWith(":") ? "left" : "";
  });
}

/** The cells of a table's row. `\|` is no border. @param {string} text */
export function cellsOf(text) {
  const cells = text.trim().split(/(?<!\\)\|/);
  if (cells[0] === "") cells.shift();
  if (cells.length > 1 && cells.at(-1)?.trim() === "") cells.pop();
  return cells.map((cell) => cell.trim().replaceAll("\\|", "|"));
}
