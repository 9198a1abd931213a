// What operators have pinned. To add or remove one takes a token, and is for `bgpbridge override`.

import { get } from "./api.js";
import { link, make, theirs } from "./dom.js";
import { badge, note, table } from "./pieces.js";
import { count, moment } from "./words.js";

export const view = {
  title: () => "Overrides",
  everyMs: 10000,
  load: (_, signal) => get("overrides", signal),
  show: (list) => {
    const columns = [["prefix"], ["what"], ["state"], ["prefixes", "number"], ["owner"], ["reason"], ["until"], ["where"]];
    const rows = list.map((one) => [
      link("explain", one.scope.split(" ")[0], one.scope),
      one.what,
      make("span", {}, badge(one.state), one.why ? make("span", { class: "line" }, theirs(one.why)) : null),
      one.prefixes === null ? "" : count(one.prefixes),
      theirs(one.owner), theirs(one.reason), one.expires ? moment(one.expires) : "removed",
      make("span", {}, make("code", {}, theirs(one.name)), one.source && one.source !== one.name ? make("span", { class: "line quiet" }, theirs(one.source)) : null),
    ]);
    return [table("Overrides, those of files first", columns, rows), note("Changed by ", make("code", {}, "bgpbridge override add"), " and ", make("code", {}, "remove"), ".")];
  },
};
