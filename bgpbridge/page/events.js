// What happens, as it happens. The browser keeps the last 500; the filter is for those on show, the stream brings all.

import { link, make, theirs } from "./dom.js";
import { badge } from "./pieces.js";
import { follow } from "./stream.js";
import { moment } from "./words.js";

const KEEP = 500;
const RANK = { info: 0, notice: 1, warning: 2, error: 3 };

export const view = {
  title: () => "Events",
  open(place, target, said) {
    const filter = form(target);
    const list = make("ol", { class: "events", role: "log", "aria-live": "polite", "aria-label": "events, newest first" });
    const state = make("p", { class: "quiet", role: "status" }, "connecting ...");
    place.append(filter.form, state, list);
    const wanted = (row) => { row.hidden = !fits(row, filter); };
    filter.form.addEventListener("input", () => [...list.children].forEach(wanted));
    filter.form.addEventListener("submit", (event) => event.preventDefault());
    return follow("events?limit=200", {
      event(event) {
        const row = line(event);
        wanted(row);
        list.prepend(row);
        if (list.children.length > KEEP) list.lastElementChild.remove();
        said();
      },
      state(words) { state.textContent = words; },
    });
  },
};

function form(target) {
  const text = make("input", { type: "search", id: "words", autocomplete: "off", value: target });
  const severity = make("select", { id: "severity" }, Object.keys(RANK).map((word) => make("option", { value: word }, word)));
  const whole = make("form", { class: "filter", role: "search", "aria-label": "Filter of events" },
    make("label", { for: "words" }, "Words"), text, make("label", { for: "severity" }, "At least"), severity);
  return { form: whole, text, severity };
}

function fits(row, { text, severity }) {
  const words = text.value.toLowerCase().split(/\s+/);
  return RANK[row.dataset.severity] >= RANK[severity.value] && words.every((word) => row.textContent.toLowerCase().includes(word));
}

function line(event) {
  const subject = event.kind.startsWith("session") ? link("peers", event.subject) : theirs(event.subject);
  return make("li", { "data-severity": event.severity },
    make("time", { datetime: new Date(event.at * 1000).toISOString() }, moment(event.at)), " ",
    badge(event.severity), " ", make("span", { class: "kind" }, event.kind), " ", subject, " ", theirs(event.text));
}
