// The curves, with every change marked in them: a band for as long as a trial's change was in force on trial, a line where it ended and how.
import { $, text, show, count, ms, percent, clock, colors, sign, kind, arrow, room } from "./dom.js";

const kept = 6 * 3600,
  palette = { kept: "good", reverted: "bad", outside: "other", running: "accent", unsure: "unsure" };

const hues = [
  "soft",
  "faint",
  "grid",
  "accent",
  "second",
  "second-fill",
  "good",
  "bad",
  "unsure",
  "other",
  ...Object.values(palette).map((name) => name + "-band"),
];
let ink = colors(...hues); // asked for once: each time is a look at all styles

export class Charts {
  epoch = "";
  last = 0;
  #t = [];
  #p50 = [];
  #p99 = [];
  #offered = [];
  #acked = [];
  #span = 3600;
  #zoom = null;
  #now = 0;
  #drawn = 0;
  #slo = 0;
  #marks = [];
  #report = null;
  #plots = {};
  #converged = null;

  constructor() {
    const saved = Number(sessionStorage.getItem("span"));
    if (saved) this.#span = saved;
    for (const b of document.querySelectorAll("[data-span]"))
      b.addEventListener("click", () => {
        this.#span = Number(b.dataset.span);
        sessionStorage.setItem("span", b.dataset.span);
        this.#look(null);
      });
    $("live").addEventListener("click", () => this.#look(null));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#anew());
    const sizes = new ResizeObserver(() => {
      for (const [id, u] of [...Object.entries(this.#plots), ["converged", this.#converged]])
        if (u && u.width !== $(id).clientWidth) u.setSize(size($(id)));
    });
    for (const id of ["latency", "rate", "converged"]) sizes.observe($(id));
    this.#chosen();
  }

  // add takes the samples that are new. Between two that are far apart nothing is known, and no line is drawn.
  async add(s, status, at) {
    if (s.whole) for (const a of this.#all()) a.length = 0;
    this.epoch = s.epoch;
    for (let i = 0; i < s.t.length; i++) {
      const t = s.t[i] / 1000,
        n = this.#t.length,
        before = n > 0 ? t - this.#t[n - 1] : 0,
        usual = n > 1 ? this.#t[n - 1] - this.#t[n - 2] : 0;
      if (before > Math.max(30, 3 * usual)) this.#push(this.#t[n - 1] + before / 2, null, null, null, null);
      this.#push(t, s.p50[i], s.p99[i], s.offered[i], s.acked[i]);
    }
    if (s.t.length) this.last = s.t[s.t.length - 1];
    const old = at / 1000 - kept * 1.02,
      gone = this.#t.findIndex((t) => t > old);
    if (gone > 100) for (const a of this.#all()) a.splice(0, gone);
    this.#slo = status.slo_ms;
    this.#now = at / 1000;
    if (s.t.length || this.#now - this.#drawn > 5) await this.#draw();
  }

  #all() {
    return [this.#t, this.#p50, this.#p99, this.#offered, this.#acked];
  }
  #push(...values) {
    this.#all().forEach((a, i) => a.push(values[i]));
  }

  // changes takes what is marked.
  async changes(study) {
    const trials = new Map(),
      marks = [];
    for (const c of study.changes) {
      const at = Date.parse(c.time) / 1000;
      let m = c.trial ? trials.get(c.trial) : marks.find((m) => m.id === c.id);
      if (!m) {
        m = {
          id: c.id,
          trial: c.trial,
          from: at,
          to: c.trial ? null : at,
          outcome: c.trial ? "running" : "outside",
          author: c.author,
          knobs: new Map(),
        };
        marks.push(m);
        if (c.trial) trials.set(c.trial, m);
      }
      if (c.knob) m.knobs.set(c.knob, { knob: c.knob, old: c.old, new: c.new });
      if (c.outcome !== "attempted") Object.assign(m, { to: at, outcome: c.outcome, effect: c.effect });
    }
    this.#marks = marks;
    $("latency").setAttribute("aria-label", `P99 over time, with ${marks.length} changes marked; the list of changes below says the same in words`);
    $("rate").setAttribute("aria-label", `Acknowledged and offered records per second over time, with ${marks.length} changes marked`);
    await this.#draw();
  }

  #view() {
    return this.#zoom ?? [this.#now - this.#span, this.#now + this.#span * 0.01];
  }

  #look(zoom) {
    this.#zoom = zoom;
    this.#chosen();
    this.#draw();
  }

  #chosen() {
    for (const b of document.querySelectorAll("[data-span]"))
      b.setAttribute("aria-pressed", String(!this.#zoom && Number(b.dataset.span) === this.#span));
    show($("live"), this.#zoom != null);
  }

  // point shows a moment: ten minutes about it, when it is not in view, and the cursor on it.
  point(at) {
    const t = at / 1000,
      [from, to] = this.#view();
    if (t < from || t > to || to - from > 7200) this.#look([t - 600, t + 600]);
    $("latency").scrollIntoView({ block: "center" });
    const u = this.#plots.latency;
    if (u) requestAnimationFrame(() => u.setCursor({ left: u.valToPos(t, "x"), top: 20 }));
  }

  async #draw() {
    if (this.#t.length === 0) return;
    this.#drawn = this.#now;
    if (!this.#plots.latency) {
      this.#make("latency");
      await room();
    } else {
      this.#plots.latency.setData([this.#t, this.#p50, this.#p99]);
      await room();
    }
    if (!this.#plots.rate) this.#make("rate");
    else this.#plots.rate.setData([this.#t, this.#offered, this.#acked]);
    for (const u of Object.values(this.#plots)) this.#say(u);
    await room();
  }

  #anew() {
    ink = colors(...hues);
    for (const u of Object.values(this.#plots)) u.destroy();
    this.#plots = {};
    this.#draw();
    if (this.#report) {
      this.#converged?.destroy();
      this.#converged = null;
      this.converge(this.#report);
    }
  }

  #make(id) {
    const latency = id === "latency",
      soft = { stroke: ink["faint"], width: 1, points: { show: false } };
    this.#plots[id] = new uPlot(
      {
        ...size($(id)),
        legend: { show: false },
        padding: [18, 8, 0, 0],
        cursor: { sync: { key: "time" }, drag: { setScale: false, x: true, y: false }, points: { size: 6 }, y: false },
        scales: {
          x: { range: () => this.#view() },
          y: latency
            ? { distr: 3, range: (u, min, max) => close(min, max, this.#slo) }
            : { range: (u, min, max) => [0, Math.max(1, (max ?? 1) * 1.12)] },
        },
        axes: [
          axis({
            size: 28,
            space: 64,
            values: (u, at, i, space, step) => at.map((t) => new Date(t * 1000).toISOString().slice(11, step < 60 ? 19 : 16)),
          }),
          latency
            ? axis({
                size: 52,
                splits: whole,
                filter: sparse,
                grid: { stroke: ink["grid"], width: 1, filter: sparse },
                ticks: { show: false },
                values: (u, at) => at.map((v) => (v == null ? "" : v >= 1000 ? v / 1000 + " s" : String(v))),
              })
            : axis({ size: 52, space: 28, values: (u, at) => at.map(short) }),
        ],
        series: [
          {},
          soft,
          { stroke: ink[latency ? "accent" : "second"], width: 1.6, points: { show: false }, fill: latency ? undefined : ink["second-fill"] },
        ],
        hooks: {
          drawClear: [(u) => this.#bands(u)],
          draw: [
            (u) => {
              if (latency) this.#sloLine(u);
              this.#flags(u, latency);
            },
          ],
          setCursor: [(u) => this.#say(u)],
          setSelect: [
            (u) => {
              if (u.select.width > 4) {
                const [from, to] = [u.select.left, u.select.left + u.select.width].map((x) => u.posToVal(x, "x"));
                u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
                if (to - from > 2) this.#look([from, to]);
              }
            },
          ],
        },
      },
      latency ? [this.#t, this.#p50, this.#p99] : [this.#t, this.#offered, this.#acked],
      $(id),
    );
    $(id).addEventListener("dblclick", () => this.#look(null));
  }

  #seen(u) {
    const { min, max } = u.scales.x;
    return this.#marks.filter((m) => (m.to ?? this.#now) >= min && m.from <= max);
  }

  #bands(u) {
    const { left, top, width, height } = u.bbox,
      x = (t) => Math.min(left + width, Math.max(left, u.valToPos(t, "x", true)));
    for (const m of this.#seen(u)) {
      const from = x(m.from),
        to = x(m.to ?? this.#now);
      u.ctx.fillStyle = ink[palette[kind(m.outcome)] + "-band"];
      u.ctx.fillRect(from, top, Math.max(to - from, 1), height);
    }
  }

  #sloLine(u) {
    const { left, width } = u.bbox,
      y = u.valToPos(this.#slo, "y", true),
      ctx = u.ctx,
      px = uPlot.pxRatio;
    ctx.save();
    ctx.strokeStyle = ink["bad"];
    ctx.lineWidth = 1.2 * px;
    ctx.setLineDash([6 * px, 4 * px]);
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
    ctx.restore();
  }

  // flags are a line where a change ended, and above it, where there is room, its trial and how it ended.
  #flags(u, named) {
    const { left, top, width, height } = u.bbox,
      ctx = u.ctx,
      px = uPlot.pxRatio;
    let free = -Infinity;
    ctx.save();
    ctx.font = `600 ${11 * px}px system-ui, sans-serif`;
    ctx.textBaseline = "bottom";
    ctx.textAlign = "center";
    for (const m of this.#seen(u)) {
      const is = kind(m.outcome),
        at = u.valToPos(m.to ?? m.from, "x", true),
        hue = ink[palette[is]];
      if (at >= left && at <= left + width) {
        ctx.strokeStyle = hue;
        ctx.lineWidth = px;
        ctx.setLineDash(is === "running" ? [3 * px, 3 * px] : []);
        ctx.beginPath();
        ctx.moveTo(at, top);
        ctx.lineTo(at, top + height);
        ctx.stroke();
      }
      if (!named) continue;
      const label = sign(m.outcome) + (m.trial ? " " + m.trial : ""),
        wide = ctx.measureText(label).width;
      const x = Math.min(left + width - wide / 2, Math.max(left + wide / 2, at));
      if (x - wide / 2 < free) continue;
      ctx.fillStyle = hue;
      ctx.fillText(label, x, top - 2 * px);
      free = x + wide / 2 + 6 * px;
    }
    ctx.restore();
  }

  // say tells the values under the cursor, or the newest ones.
  #say(u) {
    const under = u.cursor.idx != null && u.cursor.left >= 0,
      i = under ? u.cursor.idx : this.#t.length - 1,
      t = this.#t[i];
    if (t == null) return;
    const when = (under ? clock(t * 1000) : "now") + "  ";
    if (u === this.#plots.latency) {
      text($("latency-at"), `${when}P99 ${ms(this.#p99[i])} · P50 ${ms(this.#p50[i])}`);
      const m = under ? this.#marks.findLast((m) => t >= m.from - 1 && t <= (m.to ?? this.#now) + 1) : null;
      text(
        $("change-at"),
        m
          ? `${m.trial ? "Trial " + m.trial : "By " + m.author}: ${arrow([...m.knobs.values()])}${m.effect == null ? "" : ", " + percent(m.effect)}`
          : "",
      );
    } else text($("rate-at"), `${when}${count(this.#acked[i])} of ${count(this.#offered[i])}`);
  }

  // converge draws what each trial measured, and the best that was kept so far.
  async converge(report) {
    if (!report || (JSON.stringify(report.convergence) === JSON.stringify(this.#report?.convergence) && this.#converged)) return;
    this.#report = report;
    const c = report.convergence.filter((s) => s.measured != null || s.best != null),
      of = (...outcomes) => c.map((s) => (outcomes.includes(s.outcome) ? s.measured : null));
    const data = [
      c.map((s) => s.trial),
      c.map((s) => s.best),
      of("start", "kept", "better"),
      of("reverted", "worse"),
      c.map((s) => (["start", "kept", "better", "reverted", "worse"].includes(s.outcome) ? null : s.measured)),
    ];
    if (!c.length) {
      text($("converged"), "Nothing has been measured yet.");
      return;
    }
    $("converged").setAttribute("aria-label", "Goodput of each trial. " + report.outcome);
    if (this.#converged) {
      this.#converged.setData(data);
      return;
    }
    $("converged").replaceChildren();
    const points = (name) => ({
      paths: () => null,
      stroke: ink[name],
      points: { show: true, size: 6, width: 1.5, stroke: ink[name], fill: ink[name] },
    });
    this.#converged = new uPlot(
      {
        ...size($("converged")),
        legend: { show: false },
        cursor: { show: false },
        padding: [8, 12, 0, 0],
        scales: {
          x: { time: false, range: (u, min, max) => [(min ?? 0) - 0.3, Math.max(max ?? 0, (min ?? 0) + 4) + 0.3] },
          y: { range: (u, min, max) => [Math.max(0, (min ?? 0) - (max - min || max || 1) * 0.25), (max ?? 1) + (max - min || max || 1) * 0.15] },
        },
        axes: [
          axis({ size: 28, space: 36, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500], values: (u, at) => at.map((v) => (v === 0 ? "start" : "#" + v)) }),
          axis({ size: 52, space: 28, values: (u, at) => at.map(short) }),
        ],
        series: [
          {},
          { stroke: ink["accent"], width: 1.6, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } },
          points("good"),
          points("bad"),
          points("unsure"),
        ],
      },
      data,
      $("converged"),
    );
  }
}

const size = (at) => ({ width: Math.max(at.clientWidth, 120), height: at.clientHeight || 200 });
const axis = (more) => ({
  stroke: ink["soft"],
  font: "11px system-ui, sans-serif",
  grid: { stroke: ink["grid"], width: 1 },
  ticks: { stroke: ink["grid"], width: 1, size: 4 },
  ...more,
});
const short = (v) =>
  v == null ? "" : v >= 1e6 ? +(v / 1e6).toPrecision(3) + "M" : v >= 1e4 ? +(v / 1e3).toPrecision(3) + "k" : v.toLocaleString("en");

// A latency's scale has the SLO in it and ends at the data, not at whole decades.
function close(min, max, slo) {
  const low = Math.min(min ?? slo, slo) || 1,
    high = Math.max(max ?? slo, slo) || 10;
  return [low * 0.75, high * 1.4];
}

// Whole digits of every decade; of them as many as there is room for.
function whole(u, i, min, max) {
  const out = [];
  for (let e = Math.floor(Math.log10(min)); e <= Math.log10(max); e++)
    for (let d = 1; d < 10; d++) {
      const v = +(d + "e" + e);
      if (v >= min && v <= max) out.push(v);
    }
  return out;
}
const sparse = (u, at) => some(at, u.bbox.height / uPlot.pxRatio / 20);
function some(at, places) {
  const of = (digits) => at.map((v) => (digits.includes(v.toExponential()[0]) ? v : null));
  return ["123456789", "1235", "125", "12", "1"].map(of).find((s) => s.filter((v) => v != null).length <= places) ?? of("1");
}
