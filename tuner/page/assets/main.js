// Asks the tuner each second what is new, and has the parts show it. What is large (the ledger's history) is asked for only when it is another.
import { $, text, cls, lasting, room } from "./dom.js";
import { Charts } from "./charts.js";
import { Panels } from "./panels.js";
import { History } from "./history.js";
import { Orders } from "./orders.js";

const every = 1000,
  hiddenEvery = 10000,
  patience = 8000;

let study = null;
const orders = new Orders(() => tick());
const charts = new Charts();
const panels = new Panels(orders);
const history = new History(orders, (t) => charts.point(t));

let tag = "",
  answered = 0,
  timer = 0,
  asking = null;

async function ask(address) {
  const answer = await fetch(address, { cache: "no-cache", signal: AbortSignal.timeout(patience) });
  if (!answer.ok) throw new Error("status " + answer.status);
  return answer.json();
}

async function update() {
  const { epoch, last } = charts;
  const now = await ask("page/now?" + new URLSearchParams({ epoch, after: last }));
  answered = Date.now();
  const at = Date.parse(now.status.timestamp);
  orders.learn(now, study);
  panels.now(now, study, at);
  await room();
  await charts.add(now.samples, now.status, at);
  if (now.study && now.study !== tag) {
    study = await ask("page/study");
    tag = now.study;
    for (const t of study.report?.trials ?? []) t.changes = study.steps[t.number] ?? t.changes;
    await room();
    await charts.changes(study);
    panels.now(now, study, at);
    orders.learn(now, study);
    await room();
    panels.study(study, now);
    await charts.converge(study.report);
    await history.show(study, now);
  }
}

// tick is one round; two never overlap.
function tick() {
  clearTimeout(timer);
  asking ??= update()
    .catch((problem) => console.info("the tuner did not answer:", problem.message))
    .finally(() => {
      asking = null;
      fresh();
      timer = setTimeout(tick, document.hidden ? hiddenEvery : every);
    });
  return asking;
}

function fresh() {
  const since = answered ? (Date.now() - answered) / 1000 : 0,
    gone = answered ? since > 4 : false;
  cls($("fresh"), "fresh " + (gone ? "gone" : answered ? "live" : ""));
  text($("fresh"), gone ? "no answer for " + lasting(since) : answered ? "live" : "connecting");
}

setInterval(fresh, every);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) tick();
});
tick();
