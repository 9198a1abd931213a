// What views are put together from: tables that become cards on a narrow screen, facts, words with a colour.

import { draw, make } from "./dom.js";

const TONES = {
  established: "good", up: "good", healthy: "good", best: "good", multipath: "good", native: "good", "in force": "good",
  valid: "good", pass: "good", carries: "good", fine: "good", probed: "good", synchronised: "good", read: "good",
  down: "bad", idle: "bad", unhealthy: "bad", rejected: "bad", unreachable: "bad", beyond: "bad", invalid: "bad",
  fail: "bad", error: "bad", refused: "bad", none: "bad", suppressed: "bad", dead: "bad",
  near: "warn", warning: "warn", recovering: "warn", stale: "warn", generic: "warn", "fallen back": "warn",
  suspended: "warn", expired: "warn", "left out": "warn", notice: "note", connecting: "warn",
};

/** A state as a word on a colour; the word says it without the colour. */
export function badge(word, tone = TONES[word] || "plain") {
  return make("span", { class: `badge ${tone}` }, word);
}

export function section(title, ...children) {
  return make("section", {}, make("h2", {}, title), ...children);
}

/** Names and values; rows with an empty value are left out. */
export function facts(rows) {
  const shown = rows.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return make("dl", { class: "facts" }, shown.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

/** `columns` are [heading, class]; a class `number` is set to the right. Roles stand there because a table that is laid
 * out as cards would lose them (CSS Display 3 appendix). */
export function table(caption, columns, rows, empty = "none") {
  if (!rows.length) return make("p", { class: "empty" }, `${caption}: ${empty}`);
  const heads = columns.map(([name, kind]) => make("th", { scope: "col", role: "columnheader", class: kind }, name));
  const lines = rows.map((cells) =>
    make("tr", { role: "row" }, cells.map((cell, at) =>
      make("td", { role: "cell", class: columns[at][1], "data-name": columns[at][0] }, make("span", { class: "value" }, cell)))));
  return make("div", { class: "wide" }, make("table", { role: "table" },
    make("caption", {}, caption),
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, heads)),
    make("tbody", { role: "rowgroup" }, lines)));
}

/** How much of something is used up. */
export function meter(used, limit, words, high = 0.9) {
  const share = limit ? Math.min(1, used / limit) : 0;
  const tone = share >= 1 ? "full" : share >= high ? "high" : "";
  return make("span", { class: "meter" }, bar([[share, tone]]), words);
}

/** Shares of a whole side by side: [[share, class]]. */
export function bar(parts) {
  let from = 0;
  const pieces = parts.map(([share, kind]) => {
    const piece = draw("rect", { x: (from * 100).toFixed(2), y: 0, width: (share * 100).toFixed(2), height: 8, class: `part ${kind}` });
    from += share;
    return piece;
  });
  return draw("svg", { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    draw("rect", { width: 100, height: 8, class: "trough" }), pieces);
}

/** Lines of problems; each [tone, words]. */
export function problems(lines) {
  return make("ul", { class: "problems" }, lines.map(([tone, ...words]) => make("li", { class: tone }, ...words)));
}

export function note(...words) {
  return make("p", { class: "note" }, ...words);
}
