// Storage that is blocked, or full, is storage that forgets: it then holds for this page.

/**
 * @typedef {object} Store
 * @property {(key: string) => string | null} get
 * @property {(key: string, value: string | null) => void} set null removes it
 */

/**
 * Storage of the browser under keys of our own.
 * @param {"localStorage" | "sessionStorage"} kind
 * @param {Record<"localStorage" | "sessionStorage", Storage>} owner the window, in a browser
 * @returns {Store}
 */
export const openStore = (kind, owner = window) => {
  /** @type {Record<string, string | null>} */
  const held = {};
  return {
    get(key) {
      try {
        return owner[kind].getItem(`chatkit:${key}`) ?? held[key] ?? null;
      } catch {
        return held[key] ?? null;
      }
    },
    set(key, value) {
      try {
        delete held[key];
        if (value === null) owner[kind].removeItem(`chatkit:${key}`);
        else owner[kind].setItem(`chatkit:${key}`, value);
      } catch {
        held[key] = value;
      }
    },
  };
};

export const tabStore = openStore("sessionStorage");
export const browserStore = openStore("localStorage");
