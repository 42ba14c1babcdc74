// Starts Swagger UI on the page /docs. It is a file, because the page's policy allows no inline script.
"use strict";

// Earlier releases kept the token of "Authorize" here, where it survived the end of the browser.
localStorage.removeItem("authorized");

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: false, // a token lives in the memory of the page alone
  showExtensions: true,
  showCommonExtensions: true,
  validatorUrl: null, // otherwise the address of the description would be sent to another site
});
