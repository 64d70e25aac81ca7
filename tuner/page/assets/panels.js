// The parts of the page that show the newest figures, and what they mean.
import { $, el, text, cls, fill, show, count, ms, percent, level, lasting, ago, arrow, whose, badge, plural, unknown } from "./dom.js";

const phaseWords = {
  proposed: "is proposed",
  preflight: "waits for a cluster that may be changed",
  applying: "is being applied",
  verifying: "is being read back",
  settling: "waits for the load to be back",
  warming: "warms up",
  measuring: "is being measured",
  judged: "was judged",
};

const web = (address) => {
  try {
    const u = new URL(address);
    return u.protocol === "http:" || u.protocol === "https:" ? u.href : "";
  } catch {
    return "";
  }
};

export const steps = (t) => (t.changes?.length ? t.changes : [t]).map((c) => ({ knob: c.knob, old: c.old, new: c.new }));

export class Panels {
  #orders;
  #why = { key: "", lines: [] };

  constructor(orders) {
    this.#orders = orders;
  }

  now(now, study, at) {
    const s = now.status;
    text($("state"), s.state);
    cls(
      $("state"),
      "pill " +
        ({ trialing: "run", baseline: "run", awaiting: "ask", recommending: "ask", holding: "bad", stopped: "bad", paused: "ask", standby: "ask" }[
          s.state
        ] ?? ""),
    );
    text($("mode"), "mode " + s.mode);
    text($("target"), now.about.target);
    document.title = `${s.live.p99_ms == null ? "N/A" : ms(s.live.p99_ms) + " ms"} · ${s.state} · kafkalab tuner`;
    for (const name of ["grafana", "prometheus"]) {
      const address = web(s.links[name]);
      if (address) $(name).href = address;
      show($(name), address !== "");
    }
    this.#lead(now, study, at);
    this.#tiles(s);
    this.#trial(now, study, at);
    this.#knobs(now, study);
    this.#health(now.health);
    const limits = [s.limits.cpus && s.limits.cpus + " CPUs", s.limits.memory && s.limits.memory + " of memory"].filter(Boolean).join(", ");
    text(
      $("foot"),
      [
        s.build && "build " + s.build,
        limits && "target limited to " + limits,
        plural(s.ledger_entries, "record") + " in the ledger",
        s.term && "term " + s.term,
      ]
        .filter(Boolean)
        .join(" · "),
    );
  }

  // lead is the page in three sentences: what runs, how good it is, what was changed last.
  #lead({ status: s, about }, study, at) {
    const parts = [];
    const t = s.trial;
    if (t)
      parts.push(
        el("b", {}, `Trial ${t.number}`),
        `, ${arrow(steps(t))}${whose(t)}, `,
        phaseWords[t.phase] ?? t.phase,
        t.phase === "measuring" ? `, window ${Math.min((t.windows_so_far ?? 0) + 1, about.plan.windows)} of ${about.plan.windows}. ` : ". ",
      );
    else if (s.recommendation && s.state === "awaiting")
      parts.push(el("b", {}, `Trial ${s.recommendation.trial}`), `, ${arrow(s.recommendation.changes ?? [])}, waits for approval. `);
    else if (s.recommendation) parts.push("Recommends ", el("b", {}, arrow(s.recommendation.changes ?? [])), ". ");
    else
      parts.push(
        el(
          "b",
          {},
          {
            observing: "Watches what others change",
            baseline: "Measures the configuration as it is",
            done: "The search is over",
            holding: "Cannot go on",
            paused: "Paused",
            standby: "Another tuner acts",
            starting: "Starting",
            stopped: "Stopped",
          }[s.state] ?? s.state,
        ),
        s.reason ? `: ${s.reason}. ` : ". ",
      );
    if (s.live.p99_ms != null) {
      const inside = s.live.p99_ms <= s.slo_ms;
      parts.push(
        "P99 is ",
        el("b", { class: inside ? "good" : "bad" }, ms(s.live.p99_ms) + " ms"),
        `, ${inside ? "inside" : "over"} the SLO of ${count(s.slo_ms)} ms`,
      );
    } else parts.push("P99 is not known");
    parts.push(
      s.objective.ratio ? "; the best configuration does " : ". ",
      ...(s.objective.ratio ? [el("b", {}, s.objective.ratio.toFixed(2) + " ×"), " the goodput of the start. "] : []),
    );
    const last = study?.changes.findLast((c) => c.outcome !== "attempted");
    if (last)
      parts.push(
        "Last change: ",
        el("b", {}, last.knob ? `${last.knob} ${last.old} → ${last.new}` : "the target's template"),
        ", ",
        { reverted: "taken back", outside: "changed" }[last.outcome] ?? last.outcome,
        ` by ${last.author} ${ago(at, Date.parse(last.time))}`,
        last.effect == null ? "." : ` (${percent(last.effect)}).`,
      );
    fill($("lead"), parts.map((p) => p.textContent ?? p).join("|"), () => parts);
  }

  #tiles(s) {
    const l = s.live,
      meter = (id, part, mark, bad) => {
        const [fill, at] = $(id).children;
        fill.style.width = Math.min(100, Math.max(0, part * 100)) + "%";
        cls(fill, bad ? "bad" : "");
        at.style.left = (mark ?? -1) * 100 + "%";
        at.hidden = mark == null;
      };
    text($("p99"), ms(l.p99_ms));
    cls($("p99"), l.p99_ms == null ? "" : l.p99_ms <= s.slo_ms ? "good" : "bad");
    text($("p99-more"), l.p99_ms == null ? (l.missing?.p99 ?? "not known") : `SLO ${count(s.slo_ms)} · P50 ${ms(l.p50_ms)} · P99.9 ${ms(l.p999_ms)}`);
    meter("p99-meter", (l.p99_ms ?? 0) / (s.slo_ms * 1.5), 1 / 1.5, l.p99_ms > s.slo_ms);
    text($("acked"), count(l.acked_per_second));
    text(
      $("acked-more"),
      l.acked_per_second == null
        ? (l.missing?.acked ?? "not known")
        : `offered ${count(l.offered_per_second)} · consumed ${count(l.consumed_per_second)}${l.errors_per_second > 0 ? " · failed " + count(l.errors_per_second) : ""}`,
    );
    const top = Math.max(l.acked_per_second ?? 0, s.objective.best ?? 0, s.objective.baseline ?? 0) * 1.05 || 1;
    meter("acked-meter", (l.acked_per_second ?? 0) / top, s.objective.best ? s.objective.best / top : null);
    const g = s.objective;
    text($("ratio"), g.ratio == null ? unknown : g.ratio.toFixed(2));
    cls($("ratio"), g.ratio > 1.005 ? "good" : "");
    text(
      $("ratio-more"),
      g.baseline == null
        ? "the start has not been measured"
        : `start ${count(g.baseline)}/s at ${ms(g.baseline_p99_ms)} ms · best ${count(g.best)}/s at ${ms(g.best_p99_ms)} ms`,
    );
    meter(
      "ratio-meter",
      g.best && g.baseline ? g.best / Math.max(g.best, g.baseline) : 0,
      g.best && g.baseline ? g.baseline / Math.max(g.best, g.baseline) : null,
    );
    const b = s.budget;
    text($("trials-used"), String(b.trials_used));
    text($("trials-of"), `of ${plural(b.trials, "trial")}`);
    text(
      $("budget-more"),
      `restarts ${b.restarts_used} of ${b.restarts} · guards breached ${lasting(b.violation_seconds_used)} of ${lasting(b.violation_seconds)}`,
    );
    meter("trials-meter", b.trials ? b.trials_used / b.trials : 0, null, b.trials > 0 && b.trials_used >= b.trials);
  }

  // part of the running phase that is over, where the file says how long it takes.
  #part(t, plan, at) {
    const since = (at - Date.parse(t.since)) / 1000;
    if (t.phase === "measuring")
      return Math.min(
        1,
        Math.max(
          (t.windows_so_far ?? 0) / plan.windows,
          Math.min(since, (t.windows_so_far + 1) * plan.window || since) / (plan.windows * plan.window),
        ),
      );
    const long = plan[t.phase];
    return long ? Math.min(1, since / long) : null;
  }

  #trial(now, study, at) {
    const { status: s, about } = now,
      t = s.trial,
      next = s.recommendation;
    const queue = (s.queue ?? []).map((q) =>
      el(
        "p",
        { class: "soft" },
        "Next, as asked by ",
        el("b", {}, q.by),
        ": " +
          Object.entries(q.knobs ?? {})
            .map(([k, v]) => `${k}=${v}`)
            .join(" ") +
          (q.reason ? ` (${q.reason})` : "") +
          (q.held ? `; it waits: ${q.held}` : ""),
      ),
    );
    const pause = s.pause ? [el("p", { class: "notice" }, `Paused by `, el("b", {}, s.pause.by), s.pause.reason ? `: ${s.pause.reason}` : "")] : [];
    if (!t) {
      const title = next
        ? arrow(next.changes ?? [])
        : s.reason || { observing: "watches", baseline: "measures the configuration as it is", done: "the search is over" }[s.state] || s.state;
      fill($("now"), JSON.stringify([title, next, s.state, s.queue, s.pause]), () => [
        el("p", { class: "title" }, next ? `${s.state === "awaiting" ? "Waits for approval" : "Recommends"}: ` : "", title),
        next ? el("p", { class: "soft" }, next.reason) : null,
        next ? el("p", { class: "mono" }, `${next.env}: ${next.old} → ${next.new}`) : null,
        ...pause,
        ...queue,
      ]);
      return;
    }
    fill($("now"), JSON.stringify([t.number, t.phase, t.reason, t.purpose, t.author, s.queue, s.pause]), () => [
      el(
        "p",
        { class: "title" },
        el("b", {}, `Trial ${t.number}: `),
        arrow(steps(t)),
        el("span", { class: "soft" }, whose(t)),
      ),
      el(
        "ol",
        { class: "phases" },
        ...about.phases
          .filter((p) => p !== "kept" && p !== "reverted")
          .map((p, i, all) => {
            const here = all.indexOf(t.phase);
            return el("li", { class: i < here ? "over" : i === here ? "here" : "", "aria-current": i === here ? "step" : null }, p);
          }),
      ),
      el("div", { class: "progress", id: "progress" }, el("i")),
      el("p", { class: "soft", id: "progress-text" }),
      el("p", {}, t.reason ?? ""),
      ...pause,
      ...queue,
    ]);
    const part = this.#part(t, about.plan, at),
      since = lasting((at - Date.parse(t.since)) / 1000),
      whole = lasting((at - Date.parse(t.started)) / 1000);
    cls($("progress"), part == null ? "progress unknown" : "progress");
    $("progress").firstChild.style.width = (part ?? 1) * 100 + "%";
    const candidate = s.objective.candidate;
    text(
      $("progress-text"),
      `${t.phase} for ${since}` +
        (t.phase === "measuring" ? `, ${t.windows_so_far ?? 0} of ${about.plan.windows} windows` : "") +
        ` · trial runs for ${whole}` +
        (candidate && s.objective.incumbent ? ` · so far ${count(candidate)}/s against ${count(s.objective.incumbent)}/s` : ""),
    );
  }

  #knobs({ status: s, about }, study) {
    const before = study?.report?.before?.point ?? {};
    fill($("knobs"), JSON.stringify([s.knobs, before]), () => [
      el(
        "table",
        { class: "knobs" },
        el(
          "thead",
          {},
          el("tr", {}, ...["knob", "start", "best", "desired", "effective"].map((h, i) => el("th", { scope: "col", class: i ? "n" : "" }, h))),
        ),
        el(
          "tbody",
          {},
          ...s.knobs.flatMap((k) => {
            const start = before[k.name],
              differs = k.effective != null && k.desired != null && k.effective !== k.desired;
            return [
              el(
                "tr",
                {},
                el("th", { scope: "row" }, k.name, el("small", { class: "soft" }, " " + k.unit)),
                el("td", { class: "n soft" }, value(start)),
                el("td", { class: "n" }, value(k.best)),
                el("td", { class: "n" }, value(k.desired)),
                el(
                  "td",
                  { class: "n" + (k.effective == null || differs ? " warn" : "") },
                  k.effective == null ? "not read" : value(k.effective) + (differs ? " ≠" : ""),
                ),
              ),
              el(
                "tr",
                { class: "under" },
                el(
                  "td",
                  { colspan: 5 },
                  track(about.ranges[k.name], start, k.best, k.effective ?? k.desired),
                  el("span", { class: "soft mono" }, `${k.env} ${k.text ?? ""}`),
                ),
              ),
            ];
          }),
        ),
      ),
      el(
        "p",
        { class: "soft keys" },
        el("i", { class: "dot start" }),
        "start ",
        el("i", { class: "dot best" }),
        "best ",
        el("i", { class: "dot is" }),
        "now",
      ),
    ]);
  }

  #health(parts) {
    const signs = { good: "✓", uneasy: "!", bad: "✕", unknown: "·" };
    fill($("health"), JSON.stringify(parts), () =>
      parts.map((p) =>
        el(
          "li",
          {},
          el("i", { class: "mark " + p.state, "aria-label": p.state, role: "img" }, signs[p.state]),
          el("b", {}, p.name),
          el("span", { class: "soft" }, p.text),
        ),
      ),
    );
  }

  // study shows what the ledger says: why the last decision was taken, and what matters.
  async study(study, now) {
    this.#matters(study, now.status);
    const done = study.report?.trials.findLast((t) => t.seconds > 0);
    try {
      const answer = await fetch("api/v1/why", { signal: AbortSignal.timeout(8000) });
      const lines = (await answer.json()).text.split("\n").filter((line) => now.status.knobs.some((k) => line.startsWith(k.name + " is ")));
      this.#why = { key: lines.join("\n"), lines };
    } catch {
      /* what was known stays */
    }
    fill($("why"), JSON.stringify([done, this.#why.key]), () => [
      ...(done ? why(done) : [el("p", { class: "soft" }, "Nothing has been decided yet.")]),
      el("ul", { class: "plain" }, ...this.#why.lines.map((line) => el("li", {}, line))),
    ]);
  }

  #matters(study, s) {
    const alone = Object.fromEntries((study.report?.knobs ?? []).map((k) => [k.name, k])),
      found = study.importance ?? [];
    const order = found.length ? found.map((f) => f.knob) : s.knobs.map((k) => k.name);
    fill($("matters"), JSON.stringify([study.importance, study.report?.knobs]), () => [
      ...order.map((name) => {
        const f = found.find((x) => x.knob === name),
          a = alone[name];
        const bar = el("div", { class: "bar" }, el("i"), el("u"));
        if (f) {
          bar.children[0].style.width = clamp(f.total) + "%";
          bar.children[1].style.left = clamp(f.low) + "%";
          bar.children[1].style.width = clamp(f.high) - clamp(f.low) + "%";
        }
        return el(
          "div",
          { class: "matter" },
          el(
            "p",
            {},
            el("b", {}, name),
            el("span", { class: "soft" }, f ? ` ${clamp(f.total).toFixed(0)} % (${clamp(f.low).toFixed(0)} to ${clamp(f.high).toFixed(0)})` : ""),
          ),
          f ? bar : null,
          el(
            "p",
            { class: "soft" },
            a
              ? `alone ${a.lowest === a.highest ? percent(a.lowest) : percent(a.lowest) + " to " + percent(a.highest)} in ${plural(a.trials, "trial")}`
              : "not measured alone yet",
          ),
        );
      }),
      el(
        "p",
        { class: "soft" },
        found.length
          ? "Part of the goodput's variance that is the knob's, by the search's model, with its 90 % interval."
          : "How much each knob matters is said once four configurations were measured.",
      ),
    ]);
  }
}

// why a trial ended as it did.
export function why(t) {
  const interval =
    t.effect_low == null
      ? level(t.p)
      : `95 % interval ${percent(t.effect_low)} to ${percent(t.effect_high)}` + (t.p == null ? "" : ", " + level(t.p));
  return [
    el("p", { class: "title" }, el("b", {}, `Trial ${t.number}: `), arrow(t.changes), " ", badge(t.seconds > 0 ? t.outcome : "running")),
    el("p", {}, t.reason || "no reason is given"),
    t.effect == null
      ? null
      : el(
          "p",
          { class: "soft" },
          `Effect on goodput ${percent(t.effect)}${interval ? ` (${interval})` : ""}${t.goodput == null ? "" : `; measured ${count(t.goodput)}/s at a P99 of ${ms(t.p99_ms)} ms`}.`,
        ),
    t.failure ? el("p", { class: "soft" }, "Failure: " + t.failure) : null,
    t.disturbed_by ? el("p", { class: "soft" }, "By " + t.disturbed_by) : null,
    t.violation_seconds > 0 ? el("p", { class: "soft" }, `A guard was breached for ${lasting(t.violation_seconds)}.`) : null,
  ].filter(Boolean);
}

const value = (v) => (v == null ? unknown : String(v));
const clamp = (part) => 100 * Math.min(1, Math.max(0, part));

// track places values on the knob's range; equal ratios are equally far apart, as doubling is what people do.
function track(range, start, best, is) {
  const t = el("div", { class: "track", "aria-hidden": "true" });
  if (!range) return t;
  const scale = (v) => Math.log2(Math.max(v - Math.min(range.min, 0), 0.5)),
    low = scale(range.min),
    high = scale(range.max);
  for (const [name, v] of [
    ["start", start],
    ["best", best],
    ["is", is],
  ]) {
    if (v == null) continue;
    const dot = el("i", { class: "dot " + name });
    dot.style.left = 100 * Math.min(1, Math.max(0, high > low ? (scale(v) - low) / (high - low) : 0.5)) + "%";
    t.append(dot);
  }
  return t;
}
