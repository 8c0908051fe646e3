// A file of its own: the page allows no script inside it.
SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: "openapi.json",
  deepLinking: true,
  displayRequestDuration: true,
  // Each operation shows what it needs of them; all of them at once are a long page.
  defaultModelsExpandDepth: -1,
  // Else it asks swagger.io whether the document is valid.
  validatorUrl: null,
});
