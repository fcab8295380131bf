/** The files that go with the next question: each is sent to the server as soon as it is chosen. */

import { h, setAttribute } from "../dom.js";
import { words } from "../words.js";
import { fileName, pictureOf } from "./attached.js";
import { whyOf } from "./faults.js";
import { icon, iconButton } from "../icons.js";

/** @import { RunnelClient } from "../../client.js" */
/** @import { Attached } from "./tree.js" */

const t = words({
  en: {
    files: "Files for the question",
    remove: "Remove {name}",
    uploading: "Being sent",
    unsupported: "Pictures and text documents can be attached; this cannot.",
    pasted: "pasted picture",
  },
  pt: {
    files: "Arquivos da pergunta",
    remove: "Remover {name}",
    uploading: "Sendo enviado",
    unsupported: "Imagens e documentos de texto podem ser anexados; isto não.",
    pasted: "imagem colada",
  },
});

/**
 * @typedef {object} Chosen
 * @property {Attached | null} attached once the server has it
 * @property {boolean} failed
 * @property {HTMLElement} element
 */

export class Files {
  /** @type {Chosen[]} */ #chosen = [];
  #client;
  #changed;

  /** @param {RunnelClient} client @param {() => void} changed */
  constructor(client, changed) {
    this.#client = client;
    this.#changed = changed;
    this.element = h("ul", { class: "tray", "aria-label": t("files"), hidden: true });
  }

  /** Those that the server has. */
  get attached() {
    return this.#chosen.flatMap(({ attached }) => (attached ? [attached] : []));
  }

  /** Whether one is on its way. */
  get uploading() {
    return this.#chosen.some(({ attached, failed }) => !attached && !failed);
  }

  /** @param {Iterable<File>} files */
  add(files) {
    for (const file of files) this.#upload(file);
  }

  /** Shows those that the server has, and nothing else. @param {Attached[]} all */
  set(all) {
    this.#chosen = [];
    this.element.replaceChildren();
    for (const attached of all) {
      const element = this.#entry(attached.name, attached.bytes, () => this.#remove(chosen));
      const chosen = { attached, failed: false, element };
      this.#chosen.push(chosen);
      if (attached.media_type.startsWith("image/")) this.#showPicture(chosen, attached);
    }
    this.#tell();
  }

  /** @param {Chosen} chosen @param {Attached} attached */
  async #showPicture({ element }, { attachment_id }) {
    const blob = await this.#client.attachments.blob(attachment_id).catch(() => null);
    if (blob) element.firstElementChild?.replaceWith(pictureOf(blob, ""));
  }

  /** @param {File} file */
  async #upload(file) {
    const name = file.name || t("pasted");
    const element = this.#entry(name, file.size, () => this.#remove(chosen));
    /** @type {Chosen} */
    const chosen = { attached: null, failed: false, element };
    this.#chosen.push(chosen);
    if (file.type.startsWith("image/")) element.firstElementChild?.replaceWith(pictureOf(file, ""));
    setAttribute(element, "data-state", "uploading");
    this.#note(element, t("uploading"));
    this.#tell();
    try {
      chosen.attached = await this.#client.attachments.upload(file, name);
      setAttribute(element, "data-state", "ready");
      this.#note(element, "");
    } catch (error) {
      chosen.failed = true;
      setAttribute(element, "data-state", "failed");
      const unsupported = /** @type {{ status?: number }} */ (error).status === 415;
      this.#note(element, unsupported ? t("unsupported") : whyOf(error));
    }
    this.#tell();
  }

  /** @param {Chosen} chosen */
  #remove(chosen) {
    chosen.element.remove();
    this.#chosen = this.#chosen.filter((each) => each !== chosen);
    // One that no question has had is cleaned away in time, so that this may fail.
    if (chosen.attached) {
      this.#client.attachments.delete(chosen.attached.attachment_id).catch(() => {});
    }
    this.#tell();
  }

  /** @param {string} name @param {number} bytes @param {() => void} remove */
  #entry(name, bytes, remove) {
    const element = h(
      "li",
      { class: "file", "data-testid": "chosen-file", "data-state": "ready" },
      icon("file"),
      fileName(name, bytes),
      h("span", { class: "file-note", role: "status" }),
      iconButton("close", t("remove", { name }), { onclick: remove }),
    );
    this.element.append(element);
    return element;
  }

  /** @param {Element} element @param {string} text */
  #note(element, text) {
    /** @type {Element} */ (element.querySelector(".file-note")).textContent = text;
  }

  #tell() {
    this.element.hidden = this.#chosen.length === 0;
    this.#changed();
  }
}
