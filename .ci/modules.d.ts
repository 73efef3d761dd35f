// What the type checker does not find: the server makes a module of JSON.

declare module "*/shared/locales.js" {
  const known: typeof import("../flask_chatkit/static/shared/locales.json");
  export default known;
}

declare module "*/lang/en.js" {
  const english: typeof import("../flask_chatkit/static/lang/en.json");
  export default english;
}
