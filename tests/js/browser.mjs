// The little of a browser that modules touch which have no element to make.

/** Storage as a tab has it. */
export class FakeStorage {
  values = new Map();
  getItem(key) {
    return this.values.get(key) ?? null;
  }
  setItem(key, value) {
    this.values.set(key, String(value));
  }
  removeItem(key) {
    this.values.delete(key);
  }
}

export const page = {
  sessionStorage: new FakeStorage(),
  localStorage: new FakeStorage(),
  lang: "",
  languages: [],
  csrf: null,
  chats: {},
};

const chat = () => Object.assign(new EventTarget(), { tools: {}, actions: {}, given: {} });
globalThis.window = Object.assign(globalThis, {
  sessionStorage: page.sessionStorage,
  localStorage: page.localStorage,
  location: new URL("https://shop.example/contact"),
  matchMedia: () => ({ matches: false, addEventListener() {} }),
  FlaskChatKit: {
    get: (name) => {
      page.chats[name] ??= chat();
      return page.chats[name];
    },
  },
  document: {
    get documentElement() {
      return { lang: page.lang };
    },
    querySelector: (selector) =>
      selector.startsWith("meta[name") && page.csrf ? { content: page.csrf } : null,
  },
});
Object.defineProperty(globalThis, "navigator", {
  configurable: true,
  value: { languages: page.languages, locks: undefined },
});

/** Answer the next fetches, in turn; returns what was requested. */
export const answerWith = (...answers) => {
  const requests = [];
  globalThis.fetch = async (url, init) => {
    requests.push({ url: String(url), ...init });
    const answer = answers.shift();
    if (!answer) throw new TypeError("Failed to fetch");
    const { status = 200, headers = {}, ...body } = answer;
    return new Response(JSON.stringify(body), { status, headers });
  };
  return requests;
};
