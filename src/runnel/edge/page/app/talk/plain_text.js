/** Shows text as it is. The same interface as AnswerText, which shows Markdown. */

export class PlainText {
  settled = Promise.resolve();
  #element;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
  }

  /** @param {string} text */
  set(text) {
    this.#element.textContent = text;
  }

  /** @param {string} text */
  append(text) {
    this.#element.append(text);
  }

  end() {}
}
