// Lines over time as SVG: a plot of round-trip times with axes that have round figures.

import { draw } from "./dom.js";
import { duration, millis } from "./words.js";

const WIDTH = 640;
const HEIGHT = 180;
const LEFT = 64;
const BOTTOM = 24;
const TOP = 8;
const RIGHT = 10;
const KINDS = "abcdefgh";
const SPANS_S = [60, 120, 300, 600, 1200, 1800, 3600];

/** `series` are {name, points: [{at, value}]} with `at` in seconds of the monotonic clock and `value` in seconds, null
 * for unknown, which breaks the line. `most` is the top of the axis. */
export function plot(title, series, most) {
  const now = performance.now() / 1000;
  const oldest = Math.min(now, ...series.flatMap((one) => one.points.slice(0, 1).map((point) => point.at)));
  const span = SPANS_S.find((seconds) => seconds >= now - oldest) || SPANS_S.at(-1);
  const top = rounded(most);
  const x = (at) => LEFT + (1 - (now - at) / span) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + (1 - Math.min(1, value / top)) * (HEIGHT - TOP - BOTTOM);
  return draw("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": spoken(title, series) },
    [0, 0.5, 1].map((part) => level(part * top, y)),
    [0, 0.5, 1].map((part) => tick(span, part)),
    series.map((one, at) => draw("path", { class: `line ${KINDS[at % KINDS.length]}`, d: path(one.points, now - span, x, y) })));
}

function level(value, y) {
  return [
    draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
    draw("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value ? millis(value) : "0"),
  ];
}

function tick(span, part) {
  const ago = span * (1 - part);
  const words = ago ? `${duration(Math.max(10, ago))} ago` : "now";
  const anchor = part === 0 ? "start" : part === 1 ? "end" : "middle";
  return draw("text", { x: LEFT + part * (WIDTH - LEFT - RIGHT), y: HEIGHT - 6, "text-anchor": anchor }, words);
}

function path(points, from, x, y) {
  let pen = "M";
  const words = [];
  for (const { at, value } of points) {
    if (value === null || at < from) {
      pen = "M";
    } else {
      words.push(`${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}`);
      pen = "L";
    }
  }
  const last = words.at(-1);
  if (last?.startsWith("M")) words.push(`h0.01`); // a point alone is drawn by its round end
  return words.join("");
}

/** The next of 1, 2, 5, 10, ... of a power of ten. */
export function rounded(value) {
  if (!(value > 0)) return 0.001;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

function spoken(title, series) {
  const last = series.map((one) => {
    const value = one.points.at(-1)?.value;
    return `${one.name} ${value === null || value === undefined ? "unknown" : millis(value)}`;
  });
  return `${title}: ${last.join(", ") || "nothing yet"}`;
}
