// What the type checker does not find: the server makes a module of each language's JSON.

declare module "*/lang/en.js" {
  const english: Record<"chat" | "page" | "widget", Record<string, string>>;
  export default english;
}
