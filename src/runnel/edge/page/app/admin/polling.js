/** Asks again and again, while it is looked at and not before the last answer is there. */

const EVERY_MS = 10_000;

export class Polling {
  #work;
  #shown = false;
  #asking = false;
  #again = false;
  #timer = 0;
  #seen = () => this.#begun() && this.now();

  /** @param {() => Promise<void>} work */
  constructor(work) {
    this.#work = work;
  }

  begin() {
    if (this.#shown) return;
    this.#shown = true;
    document.addEventListener("visibilitychange", this.#seen);
    this.now();
  }

  end() {
    this.#shown = false;
    document.removeEventListener("visibilitychange", this.#seen);
    clearTimeout(this.#timer);
  }

  /** Asks at once; while it asks, once more behind that. */
  now() {
    clearTimeout(this.#timer);
    if (this.#asking) this.#again = true;
    else if (this.#begun()) this.#ask();
  }

  #begun() {
    return this.#shown && !document.hidden;
  }

  async #ask() {
    this.#asking = true;
    try {
      await this.#work();
    } finally {
      this.#asking = false;
      const soon = this.#again;
      this.#again = false;
      if (this.#begun()) this.#timer = setTimeout(() => this.now(), soon ? 0 : EVERY_MS);
    }
  }
}
