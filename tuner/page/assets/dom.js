// What the other parts share: making and changing elements, and words for figures. Text is only ever set as text.

export const $ = (id) => document.getElementById(id);

// el makes an element. Of its properties, class and on… are special; true and false set and leave out an attribute.
export function el(tag, properties = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") e.className = value;
    else if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (value === true) e.setAttribute(name, "");
    else if (value !== false && value != null) e.setAttribute(name, value);
  }
  e.append(...children.filter((c) => c != null));
  return e;
}

// Nothing is touched that is as it should be: a page that changes each second must not make a reader's eye, or a screen reader, start anew.
export function text(e, value) {
  if (e.textContent !== value) e.textContent = value;
}
export function cls(e, value) {
  if (e.className !== value) e.className = value;
}
export function show(e, is) {
  if (e.hidden === is) e.hidden = !is;
}

// fill replaces the children when the key is another than last time.
export function fill(e, key, make) {
  if (e.filledWith === key) return;
  e.filledWith = key;
  const had = e.contains(document.activeElement) ? document.activeElement.id : "";
  e.replaceChildren(...make().filter((c) => c != null));
  if (had) ($(had) ?? e.querySelector("button"))?.focus();
}

export const unknown = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const count = (v) => (v == null ? unknown : whole.format(v));
export const ms = (v) => (v == null ? unknown : v >= 10000 ? count(v) : v.toFixed(v >= 100 ? 0 : v >= 10 ? 1 : 2));
export const percent = (v) => (v == null ? unknown : (v > 0 ? "+" : v < 0 ? "−" : "±") + Math.abs(v * 100).toFixed(1) + " %");
export const level = (p) => (p == null ? "" : p < 0.001 ? "p < 0.001" : "p = " + p.toPrecision(2));
export const plural = (n, word) => n + " " + word + (n === 1 ? "" : "s");
export const clock = (t) => new Date(t).toISOString().slice(11, 19);
export const day = (t) => new Date(t).toISOString().slice(0, 10);

export function lasting(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min" + (s < 600 && s % 60 ? " " + (s % 60) + " s" : "");
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
  return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
}
export const ago = (now, t) => lasting((now - t) / 1000) + " ago";

// Words and signs of outcomes; no outcome is told by its colour alone.
const words = {
  kept: "kept",
  reverted: "taken back",
  inconclusive: "inconclusive",
  discarded: "discarded",
  outside: "by others",
  better: "better",
  "not-better": "not better",
  worse: "worse",
  running: "running",
};
const signs = { kept: "✓", reverted: "↩", outside: "◆", running: "▸", better: "▲", "not-better": "=", worse: "▼" };
const kinds = { kept: "kept", reverted: "reverted", outside: "outside", running: "running", better: "kept", worse: "reverted" };
export const kind = (outcome) => kinds[outcome] ?? "unsure";
export const sign = (outcome) => signs[outcome] ?? "?";
export const badge = (outcome) => el("span", { class: "badge " + kind(outcome) }, sign(outcome) + " " + (words[outcome] ?? outcome));

// whose is what is told of a trial beside its change: whose it was, or why it is made.
export const whose = (t) => (t.purpose === "scored" ? ` by ${t.author}` : t.purpose ? ` (${t.purpose})` : "");

export const arrow = (changes) => changes.map((c) => `${c.knob} ${c.old} → ${c.new}`).join(", ");

// room gives the browser a moment to paint and to listen.
export const room = () => (globalThis.scheduler?.yield ? scheduler.yield() : new Promise((done) => setTimeout(done)));

// colors are the page's own, as the style has them now.
export function colors(...names) {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
}
