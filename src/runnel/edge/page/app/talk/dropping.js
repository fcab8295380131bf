/** Files that are dropped on an element. */

/** @param {HTMLElement} element @param {(files: FileList) => void} take */
export function takeDropped(element, take) {
  let depth = 0;
  /** @param {number} by */
  const over = (by) => {
    depth = Math.max(0, depth + by);
    element.toggleAttribute("data-dropping", depth > 0);
  };
  /** @param {DragEvent} event */
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;
  element.addEventListener("dragenter", (event) => hasFiles(event) && over(1));
  element.addEventListener("dragleave", (event) => hasFiles(event) && over(-1));
  element.addEventListener("dragover", (event) => {
    // Without this the browser would leave the page for the file.
    if (hasFiles(event)) event.preventDefault();
  });
  element.addEventListener("drop", (event) => {
    if (!hasFiles(event) || !event.dataTransfer) return;
    event.preventDefault();
    depth = 0;
    over(0);
    take(event.dataTransfer.files);
  });
}
