// Figures as people read them.

const OCTETS = ["octets", "KiB", "MiB", "GiB", "TiB"];

export const count = (number) => number.toLocaleString("en");

/** `3 peers`, `1 peer`, `2 prefixes`. */
export const counted = (number, word, plural = `${word}s`) => `${count(number)} ${number === 1 ? word : plural}`;

/** Seconds as the command line has them: `31ms`, `4.2s`, `12s`, `3m12s`, `4h07m`, `3d04h`. */
export function duration(seconds) {
  if (seconds < 1) return `${Math.round(Math.max(0, seconds) * 1000)}ms`;
  if (seconds < 10) return `${seconds.toFixed(1)}s`;
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86400)}d${two(Math.floor((whole % 86400) / 3600))}h`;
}

const two = (number) => String(number).padStart(2, "0");

/** A time of the bridge (Unix seconds) as the reader's clock shows it, with the day where it is not today. */
export function moment(seconds) {
  if (!seconds) return "never";
  const at = new Date(seconds * 1000);
  const time = at.toLocaleTimeString("en-GB");
  return at.toDateString() === new Date().toDateString() ? time : `${day(at)} ${time}`;
}

function day(at) {
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
