// Tells a developer of an event that does not exist. Fetched for names that no widget knows.

/**
 * How many letters are to be added, removed, replaced or swapped to make one word of the other.
 * @param {string} one
 * @param {string} other
 */
const distance = (one, other) => {
  const rows = [[...`${other} `].map((_, i) => i)];
  for (let i = 1; i <= one.length; i += 1) {
    rows[i] = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const isSame = one[i - 1] === other[j - 1];
      const ways = [rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + Number(!isSame)];
      if (one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1])
        ways.push(rows[i - 2][j - 2] + 1);
      rows[i][j] = Math.min(...ways);
    }
  }
  return rows[one.length][other.length];
};

/**
 * The name that somebody has meant, or undefined.
 * @param {string} type
 * @param {string[]} known
 */
export const nearest = (type, known) => {
  // `threadChange`, `onThreadChange` and `thread_change` are `thread.change`.
  const plain = (/** @type {string} */ name) => name.toLowerCase().replace(/[^a-z]/g, "");
  const wanted = plain(type.replace(/^chatkit\./, "")).replace(/^on(?=.{4})/, "");
  const found = known
    .map((name) => ({ name, far: distance(wanted, plain(name)) }))
    .sort((a, b) => a.far - b.far)[0];
  return found.far <= Math.max(2, wanted.length / 3) ? found.name : undefined;
};

/**
 * @param {string} type
 * @param {string[]} known
 */
export const tellName = (type, known) => {
  const near = nearest(type, known);
  const hint = near ? `did you mean "${near}"?` : `there are ${[...known].sort().join(", ")}.`;
  console.warn(`flask_chatkit: there is no event "${type}": ${hint}`);
};
