// Starts Swagger UI on the schema beside this page. It must never name a host.
"use strict";

// Resolved against the page, so that a ROOT_PATH in front of everything stays in front.
const schemaUrl = new URL("openapi.json", document.baseURI).href;

const loginBesideSchema = {
  statePlugins: {
    auth: {
      wrapActions: {
        // Swagger UI resolves a relative tokenUrl against the server's URL, whose last part it
        // takes for a file: "token" under "scheme://host/prefix" becomes "/token". The schema's
        // own address is the base which stays right under every ROOT_PATH.
        authorizeRequest: (send) => (request) =>
          send({ ...request, url: new URL(request.url, schemaUrl).href }),
        // With persistAuthorization it would write the password, too, to the browser's storage.
        // The token is all that later requests need.
        authorizeOauth2WithPersistOption: (send) => (grant) =>
          send({ ...grant, auth: { ...grant.auth, password: "", clientSecret: "" } }),
      },
    },
  },
};

// Here and not in the markup, where the policy of the page refuses a style.
document.body.style.margin = "0";

SwaggerUIBundle({
  url: schemaUrl,
  dom_id: "#docs",
  plugins: [loginBesideSchema],
  // The default is a public service to which the schema would be sent.
  validatorUrl: null,
  persistAuthorization: true,
  tryItOutEnabled: true,
  deepLinking: true,
  displayRequestDuration: true,
});
