// The two lists: what was changed and ordered, by whom; and every trial. Of five hundred trials only those are touched that have become others, and what is
// new is put there in pieces, so that the page answers meanwhile.
import { $, el, text, clock, day, count, ms, percent, level, lasting, arrow, whose, badge, plural, room } from "./dom.js";
import { why } from "./panels.js";

const piece = 10,
  shownAtFirst = 100;

// List keeps elements in the order of items, which have a key and are made anew when they are others.
class List {
  #at;
  #make;
  #have = new Map();
  constructor(at, make) {
    this.#at = at;
    this.#make = make;
  }

  async show(items) {
    const gone = new Set(this.#have.keys());
    let before = this.#at.firstChild,
      made = 0;
    for (const item of items) {
      const now = JSON.stringify(item),
        had = this.#have.get(item.key);
      gone.delete(item.key);
      let e = had?.e;
      if (!had || had.now !== now) {
        e = this.#make(item);
        this.#have.set(item.key, { e, now });
        if (had) {
          const focused = had.e.contains(document.activeElement);
          had.e.replaceWith(e);
          if (before === had.e) before = e;
          if (focused) e.querySelector("button")?.focus();
        }
        if (++made % piece === 0) await room();
      }
      if (e === before) before = e.nextSibling;
      else this.#at.insertBefore(e, before);
    }
    for (const key of gone) {
      this.#have.get(key).e.remove();
      this.#have.delete(key);
    }
  }
}

export class History {
  #orders;
  #point;
  #rows;
  #feed;
  #all = false;
  #last;

  constructor(orders, point) {
    this.#orders = orders;
    this.#point = point;
    this.#rows = new List($("rows"), (t) => this.#row(t));
    this.#feed = new List($("changes"), (f) => this.#entry(f));
  }

  async show(study, now) {
    this.#last = [study, now];
    const trials = [...(study.report?.trials ?? [])].reverse().map((t) => ({ key: t.number, ...t }));
    const c = study.report?.counts;
    const others = c && c.better + c.not_better + c.worse ? `, by others ${c.better} better, ${c.not_better} not better, ${c.worse} worse` : "";
    text($("trials-count"), c ? `${c.kept} kept, ${c.reverted} taken back, ${c.inconclusive + c.discarded} without a result${others}` : "");
    const scale = Math.max(0.05, ...trials.slice(0, 200).map((t) => Math.abs(t.effect ?? 0)));
    const feed = entries(study),
      shown = this.#all ? feed : feed.slice(0, shownAtFirst);
    text($("changes-count"), plural(feed.length, "entry").replace("entrys", "entries"));
    await this.#feed.show(feed.length > shown.length ? [...shown, { key: "more", more: feed.length - shown.length }] : shown);
    await this.#rows.show(trials.map((t) => ({ ...t, scale: Number(scale.toPrecision(1)) })));
  }

  #row(t) {
    const cell = (name, ...children) => el("td", { role: "cell", class: name, "data-name": name }, ...children);
    const running = !(t.seconds > 0);
    return el(
      "tr",
      { role: "row", class: running ? "running" : "" },
      cell(
        "no",
        el(
          "button",
          {
            type: "button",
            class: "link",
            "aria-label": `#${t.number}, why`,
            onclick: () => this.#orders.tell(`Why trial ${t.number}`, why(t), running ? null : t.number),
          },
          "#" + t.number,
        ),
      ),
      cell("began", el("time", { datetime: t.started, title: t.started }, clock(t.started))),
      cell("change", arrow(t.changes), el("span", { class: "soft" }, whose(t))),
      cell("outcome", running ? badge("running") : badge(t.outcome), t.failure ? el("small", { class: "soft" }, " " + t.failure) : null),
      cell("effect", effect(t)),
      cell("goodput n", count(t.goodput)),
      cell("p99 n", ms(t.p99_ms)),
      cell("took n", running ? t.outcome : lasting(t.seconds)),
      cell("reason", el("span", {}, t.reason)),
    );
  }

  #entry(f) {
    if (f.more)
      return el(
        "li",
        {},
        el(
          "button",
          {
            type: "button",
            onclick: () => {
              this.#all = true;
              this.show(...this.#last);
            },
          },
          `Show ${f.more} earlier ones`,
        ),
      );
    return el(
      "li",
      {},
      el(
        "button",
        { type: "button", class: "link when", title: "show it in the curves", onclick: () => this.#point(Date.parse(f.time)) },
        el("time", { datetime: f.time }, clock(f.time)),
        el("small", { class: "soft" }, day(f.time)),
      ),
      el(
        "div",
        {},
        el(
          "p",
          {},
          f.outcome ? badge(f.outcome) : el("span", { class: "badge" }, f.command),
          " ",
          el("b", {}, f.what),
          f.effect == null ? null : el("b", { class: f.effect > 0 ? "good" : "bad" }, " " + percent(f.effect)),
        ),
        el("p", { class: "soft" }, "by " + f.author + (f.trial ? `, trial ${f.trial}` : "") + (f.reason ? ": " + f.reason : "")),
      ),
    );
  }
}

// entries are the changes, one for each trial or act of others, and the orders; the newest first.
function entries(study) {
  const by = new Map();
  for (const c of study.changes) {
    const key = c.trial ? "t" + c.trial : "c" + c.id;
    const e = by.get(key) ?? { key, changes: new Map() };
    by.set(key, e);
    if (c.knob) e.changes.set(c.knob, `${c.knob} ${c.old} → ${c.new}`);
    Object.assign(e, {
      time: c.time,
      author: c.author,
      trial: c.trial,
      reason: c.reason,
      effect: c.outcome === "attempted" ? null : c.effect,
      outcome: c.outcome === "attempted" ? "running" : c.outcome,
    });
  }
  const changes = [...by.values()].map(({ changes, ...e }) => ({ ...e, what: [...changes.values()].join(", ") || "the target's template" }));
  const orders = (study.report?.orders ?? []).map((o) => ({
    key: "o" + o.record,
    time: o.time,
    author: o.author,
    command: o.command,
    what: "",
    reason: o.reason,
  }));
  return [...changes, ...orders]
    .map((e) => [Date.parse(e.time), e])
    .sort((a, b) => b[0] - a[0])
    .map(([, e]) => e);
}

// effect is the figure with its interval, drawn about no effect; where there is no interval, the p.
function effect(t) {
  if (t.effect == null) return el("span", { class: "soft" }, "not measured");
  const interval = t.effect_low != null;
  const bar = el("span", { class: "interval", "aria-hidden": "true" }, el("i"), el("b"));
  const at = (v) => 50 + 50 * Math.min(1, Math.max(-1, v / (t.scale * 1.2)));
  bar.children[0].style.left = at(interval ? t.effect_low : t.effect) + "%";
  bar.children[0].style.width = (interval ? at(t.effect_high) - at(t.effect_low) : 0) + "%";
  bar.children[1].style.left = at(t.effect) + "%";
  return el(
    "span",
    { class: "effect-of" },
    bar,
    el("b", { class: "figure " + (t.effect > 0 ? "good" : "bad") }, percent(t.effect)),
    el("small", { class: "soft" }, interval ? `${percent(t.effect_low)} to ${percent(t.effect_high)}` : level(t.p)),
  );
}
