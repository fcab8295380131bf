// Starts Redoc on the schema beside this page. It must never let an image of another host load.
"use strict";

// Redoc's badge draws its logo from a CDN and no option turns that off. The policy of the page
// (img-src) would block it, but only after the attempt and with an error in the console. React
// sets an image's source both ways below: a foreign one becomes an empty one, which fails here
// and at once; the badge then removes its image itself (its onError) and stays as plain text.
function ownSource(value) {
  const url = new URL(value, document.baseURI);
  const own = url.origin === location.origin || url.protocol === "data:";
  return own ? value : "data:,";
}

const image = HTMLImageElement.prototype;
const source = Object.getOwnPropertyDescriptor(image, "src");
Object.defineProperty(image, "src", {
  ...source,
  set(value) {
    source.set.call(this, ownSource(value));
  },
});
image.setAttribute = function setAttribute(name, value) {
  const allowed = name.toLowerCase() === "src" ? ownSource(value) : value;
  Element.prototype.setAttribute.call(this, name, allowed);
};

// Here and not in the markup, where a style would be inline.
document.body.style.margin = "0";

const fontFamily = "system-ui, sans-serif";

Redoc.init(
  // Resolved against the page, so that a ROOT_PATH in front of everything stays in front.
  new URL("openapi.json", document.baseURI).href,
  {
    // The fonts which Redoc names by default would have to come from another host.
    theme: {
      typography: {
        fontFamily,
        headings: { fontFamily },
        code: { fontFamily: "ui-monospace, monospace" },
      },
    },
    nativeScrollbars: true,
  },
  document.getElementById("redoc"),
);
