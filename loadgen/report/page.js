"use strict";
(() => {
  const color = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const short = v => v >= 1e6 ? +(v / 1e6).toPrecision(3) + "M" : v >= 1e4 ? +(v / 1e3).toPrecision(3) + "k" : +v.toPrecision(3) + "";
  const ms = v => v == null ? "–" : v >= 1000 ? (v / 1000).toFixed(3) + " s" : v.toFixed(3) + " ms";
  const tick = v => v == null ? "" : v >= 1000 ? +(v / 1000).toPrecision(3) + " s" : +v.toPrecision(3) + " ms";
  const perSecond = v => v == null ? "–" : Math.round(v).toLocaleString("en");
  // 1/(1-p), as the share of the records that are faster.
  const share = x => x == null ? "–" : +(100 * (1 - 1 / x)).toFixed(Math.max(0, Math.ceil(Math.log10(x)) - 1)) + " %";

  const axis = more => ({ stroke: color("soft"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line"), width: 1 }, ...more });
  const line = (label, name, value, more) => ({ label, stroke: color(name), width: 1.5, points: { show: true, size: 4, filter: alone }, value: (u, v) => value(v), ...more });
  const dashed = { dash: [6, 4], width: 1 };

  function shade(u) {
    const at = t => u.valToPos(Math.min(Math.max(t, u.scales.x.min), u.scales.x.max), "x", true);
    u.ctx.fillStyle = color("shade");
    for (const [from, to] of [[charts.from, charts.to], [charts.end, Infinity]]) u.ctx.fillRect(at(from), u.bbox.top, at(to) - at(from), u.bbox.height);
  }

  // A value between two gaps is no line; it is drawn as a point.
  const alone = (u, i) => u.data[i].flatMap((v, k, all) => v != null && all[k - 1] == null && all[k + 1] == null ? [k] : []);

  // On a logarithmic axis: as many of 1, 2, 5 and their decades as there is room for.
  const room = (found, places) => {
    const of = digits => found.map(v => digits.includes(v.toExponential()[0]) ? v : null);
    const shown = ["123456789", "125", "1"].map(of).find(some => some.filter(v => v != null).length <= places) || of("1");
    const step = Math.ceil(shown.filter(v => v != null).length / places);
    let n = 0;
    return shown.map(v => v != null && n++ % step == 0 ? v : null);
  };
  const clock = v => v == null ? "–" : new Date(v * 1000).toISOString().slice(11, 19);
  const timeAxis = () => axis({ space: 70, values: (u, found) => found.map(clock) });

  // A scale that ends at the data instead of at whole decades, and is never so narrow that a line fills it by noise.
  const close = (u, min, max) => {
    if (min == null) return [1, 10];
    const middle = Math.sqrt(min * max);
    return [Math.min(min * 0.9, middle / 1.5), Math.max(max * 1.1, middle * 1.5)];
  };
  const latency = { distr: 3, range: close };
  // Whole digits of every decade, wherever the scale begins.
  const whole = (u, i, min, max) => {
    const out = [];
    for (let e = Math.floor(Math.log10(min)); e <= Math.log10(max); e++)
      for (let d = 1; d < 10; d++) { const v = +(d + "e" + e); if (v >= min && v <= max) out.push(v); }
    return out;
  };
  const latencyAxis = () => axis({ size: 64, splits: whole, values: (u, found) => found.map(v => v == null ? "" : tick(v)), filter: (u, found) => room(found, u.bbox.height / devicePixelRatio / 18) });

  function slo(x, data, series) {
    if (charts.slo == null) return;
    data.push(x.map(() => charts.slo));
    series.push(line("SLO", "bad", ms, dashed));
  }

  const plots = [];
  function plot(id, data, options) {
    const at = document.getElementById(id);
    at.replaceChildren();
    if (!data[0] || !data[0].length) { at.textContent = "Nothing was measured."; at.className = "soft"; return; }
    const size = () => ({ width: at.clientWidth, height: Math.max(220, Math.min(340, at.clientWidth * 0.5)) });
    const u = new uPlot({ ...size(), cursor: { sync: options.sync && { key: options.sync } }, ...options }, data, at);
    plots.push({ u, size });
  }

  function overTime(id, rows) {
    const data = [charts.latency[0], ...rows], series = [{ value: (u, v) => clock(v) }, line("P50", "a", ms), line("P99", "b", ms), line("max", "c", ms, { width: 1 })];
    slo(charts.latency[0] || [], data, series);
    plot(id, data, { sync: "time", series, scales: { y: latency }, axes: [timeAxis(), latencyAxis()], hooks: { drawClear: [shade] } });
  }

  function draw() {
    plots.splice(0).forEach(p => p.u.destroy());
    const data = [...charts.curve], series = [{ label: "faster", value: (u, v) => share(v) },
      line("response", "a", ms), line("service", "b", ms), line("end to end", "c", ms)];
    slo(data[0] || [], data, series);
    plot("curve", data, { series, scales: { x: { time: false, distr: 3, range: (u, min, max) => [1, Math.max(max, 10)] }, y: latency },
      axes: [axis({ splits: whole, filter: (u, found) => room(found.map(v => Math.log10(v) % 1 == 0 ? v : NaN), u.bbox.width / devicePixelRatio / 70), values: (u, found) => found.map(v => v == null ? "" : share(v)) }), latencyAxis()] });
    overTime("endtoend", charts.latency.slice(1, 4));
    overTime("response-time", charts.latency.slice(4, 7));
    plot("rate", charts.rate, { sync: "time", axes: [timeAxis(), axis({ size: 64, values: (u, found) => found.map(short) })],
      series: [{ value: (u, v) => clock(v) }, line("target", "bad", perSecond, dashed), line("offered", "b", perSecond), line("acknowledged", "a", perSecond), line("consumed", "d", perSecond)],
      scales: { y: { range: (u, min, max) => [0, Math.max(max * 1.08, 1)] } }, hooks: { drawClear: [shade] } });
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let pending;
  addEventListener("resize", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(() => plots.forEach(p => p.u.setSize(p.size()))); });
})();
