/** Files as a message, or a question that is being written, shows them. */

import { h } from "../dom.js";
import { formatted, words } from "../words.js";
import { icon } from "../icons.js";

/** @import { RunnelClient } from "../../client.js" */
/** @import { Attached } from "./tree.js" */

const t = words({
  en: { download: "Download {name}", gone: "{name} (cannot be loaded)" },
  pt: { download: "Baixar {name}", gone: "{name} (não pode ser carregado)" },
});

/** A picture's address needs a header, so it is fetched and shown as a blob. It is given back when
 *  the picture is shown; a download asks again. */
const SHOWN_PICTURES = /^image\/(png|jpeg|webp|gif)$/;

/**
 * @param {RunnelClient} client
 * @param {Attached} file
 * @param {(error: unknown) => void} failed
 */
export function attachedFile(client, file, failed) {
  const isPicture = SHOWN_PICTURES.test(file.media_type);
  const button = h(
    "button",
    {
      class: "file",
      type: "button",
      "data-testid": "attachment",
      "data-kind": isPicture ? "picture" : "document",
      "aria-label": t("download", { name: file.name }),
      title: file.name,
      onclick: () => download(client, file).catch(failed),
    },
    !isPicture && icon("file"),
    !isPicture && fileName(file.name, file.bytes),
  );
  if (isPicture) whenNear(button, () => showPicture(client, file, button));
  return button;
}

/** @param {string} name @param {number} bytes */
export function fileName(name, bytes) {
  return h("span", { class: "file-name" }, h("bdi", {}, name), h("small", {}, sizeOf(bytes)));
}

/** @param {number} bytes */
export function sizeOf(bytes) {
  const [unit, size] =
    bytes < 1e3 ? ["byte", 1] : bytes < 1e6 ? ["kilobyte", 1e3] : ["megabyte", 1e6];
  const digits = bytes < 1e6 ? 0 : 1;
  return formatted(bytes / Number(size), {
    style: "unit",
    unit: String(unit),
    unitDisplay: "short",
    maximumFractionDigits: digits,
  });
}

/** A picture of a blob, whose address is given back once it is shown.
 *  @param {Blob} blob @param {string} alt */
export function pictureOf(blob, alt) {
  const url = URL.createObjectURL(blob);
  const picture = h("img", { alt, src: url });
  const done = () => URL.revokeObjectURL(url);
  picture.addEventListener("load", done);
  picture.addEventListener("error", done);
  return picture;
}

/** @param {RunnelClient} client @param {Attached} file @param {HTMLElement} button */
async function showPicture(client, file, button) {
  try {
    const picture = pictureOf(await client.attachments.blob(file.attachment_id), file.name);
    if (file.width && file.height) {
      picture.width = file.width;
      picture.height = file.height;
    }
    button.replaceChildren(picture);
  } catch {
    button.replaceChildren(icon("file"), h("span", {}, t("gone", { name: file.name })));
  }
}

/** @param {RunnelClient} client @param {Attached} file */
async function download(client, { attachment_id, name }) {
  const url = URL.createObjectURL(await client.attachments.blob(attachment_id));
  h("a", { href: url, download: name }).click();
  // The browser reads it by and by, and does not tell when it has.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** @param {Element} element @param {() => void} act */
function whenNear(element, act) {
  const watch = new IntersectionObserver(
    (seen) => {
      if (!seen.some((each) => each.isIntersecting)) return;
      watch.disconnect();
      act();
    },
    { rootMargin: "600px" },
  );
  watch.observe(element);
}
