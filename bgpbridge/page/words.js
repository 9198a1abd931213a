// Figures as people read them.

const STEPS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const OCTETS = ["octets", "KiB", "MiB", "GiB", "TiB"];

export const count = (number) => number.toLocaleString("en");

/** `3 peers`, `1 peer`. */
export const counted = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

/** Seconds as `2 d 3 h`, the two largest units. */
export function duration(seconds) {
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  const parts = [];
  let left = Math.round(seconds);
  for (const [size, unit] of STEPS) {
    if (left >= size) parts.push(`${Math.floor(left / size)} ${unit}`);
    left %= size;
  }
  return parts.slice(0, 2).join(" ");
}

/** A time of the bridge (Unix seconds) as the reader's clock shows it, with the day where it is not today. */
export function moment(seconds) {
  if (!seconds) return "never";
  const at = new Date(seconds * 1000);
  const time = at.toLocaleTimeString("en-GB");
  return at.toDateString() === new Date().toDateString() ? time : `${day(at)} ${time}`;
}

function day(at) {
  const two = (number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

export function octets(number) {
  let unit = 0;
  while (number >= 1024 && unit < OCTETS.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${unit ? number.toFixed(number < 10 ? 1 : 0) : number} ${OCTETS[unit]}`;
}

/** Seconds as milliseconds, with as many digits as mean something. */
export function millis(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const ms = seconds * 1000;
  return `${ms.toFixed(ms < 1 ? 3 : ms < 100 ? 2 : 0)} ms`;
}

export const percent = (share) => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)}%`;

/** `{ipv4: 5, ipv6: 0}` as `5 ipv4, 0 ipv6`. */
export const byName = (counts) => Object.entries(counts).map(([name, number]) => `${count(number)} ${name}`).join(", ");
