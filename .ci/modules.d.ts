// What the type checker does not find: the server makes a module of JSON.

declare module "*/lang/en.js" {
  const english: typeof import("../flask_chatkit/static/lang/en.json");
  export default english;
}
