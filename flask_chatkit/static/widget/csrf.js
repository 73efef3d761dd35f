// A CSRF token in the place of one that has run out. Fetched when one has.

/**
 * The token in a page of the site's; undefined if there is none.
 * @param {string} page
 * @returns {Promise<string | undefined>}
 */
export const fetchToken = async (page) => {
  const html = await fetch(page, { cache: "no-store" })
    .then((response) => response.text())
    .catch(() => "");
  const [tag = ""] = /<(meta|input)\b[^>]*\bname=["']?csrf[-_]token\b[^>]*>/i.exec(html) ?? [];
  const [, token] = /\b(?:content|value)=["']?([^"'\s>]+)/i.exec(tag) ?? [];
  return token;
};
