// What people can tell the tuner: each order is confirmed in a dialog that says what it does, and is signed.
import { $, el, text, fill, show, arrow } from "./dom.js";

const what = {
  pause: ["Pause", "Nothing new begins; a trial that runs goes to its end."],
  resume: ["Resume", "The pause ends, and the search goes on."],
  approve: ["Approve", "The trial that waits begins: the target is changed, and the change is kept only if it helps."],
  reject: ["Reject", "The trial that waits does not begin, and is not proposed again."],
  abort: ["Abort", "The change of the running trial is taken back now."],
  rollback: ["Roll back", "The target goes back to an earlier configuration. What runs now is taken back first."],
};
const grave = new Set(["abort", "rollback"]);

export class Orders {
  #after;
  #now;
  #study;
  #order;
  #token = "";

  constructor(after) {
    this.#after = after;
    $("ask")
      .querySelector("form")
      .addEventListener("submit", (e) => {
        e.preventDefault();
        this.#send();
      });
    $("ask-cancel").addEventListener("click", () => $("ask").close());
    $("tell-close").addEventListener("click", () => $("tell").close());
    $("ask").addEventListener("close", () => {
      $("ask-error").textContent = "";
    });
    try {
      $("ask-by").value = localStorage.getItem("by") ?? "";
    } catch {
      /* kept for next time where that is allowed */
    }
  }

  learn(now, study) {
    this.#now = now;
    this.#study = study;
    const possible = this.possible(now);
    fill($("orders"), possible.join(), () =>
      possible.map((c) =>
        el(
          "button",
          { type: "button", id: "do-" + c, class: c === "approve" ? "main" : grave.has(c) ? "grave" : "", onclick: () => this.ask(c) },
          what[c][0],
        ),
      ),
    );
  }

  // possible are the orders that make sense now; the tuner has the last word.
  possible({ status, about }) {
    if (status.state === "standby" || status.state === "stopped") return [];
    const out = [];
    if (about.acts && status.state === "awaiting" && status.recommendation) out.push("approve", "reject");
    out.push(status.pause ? "resume" : "pause");
    if (about.acts && status.trial) out.push("abort");
    if (about.acts) out.push("rollback");
    return out;
  }

  // tell shows a text; when a trial is named, one can go back to what was in force after it.
  tell(title, parts, trial) {
    text($("tell-title"), title);
    $("tell-text").replaceChildren(...parts);
    show($("tell-back"), trial != null && this.#now.about.acts);
    $("tell-back").onclick = () => {
      $("tell").close();
      this.ask("rollback", trial);
    };
    $("tell").showModal();
  }

  ask(command, trial) {
    const { status, about } = this.#now,
      [title, does] = what[command];
    this.#order = {
      command,
      trial: { approve: status.recommendation?.trial, reject: status.recommendation?.trial, abort: status.trial?.number }[command],
    };
    text(
      $("ask-title"),
      title +
        ({ approve: " trial " + this.#order.trial, reject: " trial " + this.#order.trial, abort: " trial " + this.#order.trial }[command] ?? ""),
    );
    text($("ask-what"), does);
    text($("ask-do"), title);
    $("ask-do").className = grave.has(command) ? "grave main" : "main";
    show($("ask-trial-row"), command === "rollback");
    if (command === "rollback") this.#choices(trial);
    show($("ask-token-row"), about.token);
    $("ask-token").required = about.token;
    $("ask-token").value = this.#token;
    $("ask-reason").value = "";
    $("ask-error").textContent = "";
    $("ask").showModal();
    ($("ask-by").value ? $("ask-reason") : $("ask-by")).focus();
  }

  #choices(chosen) {
    const ended = (this.#study?.report?.trials ?? []).filter((t) => t.seconds > 0);
    const kept = ended.filter((t) => t.outcome === "kept" || t.number === chosen).reverse();
    $("ask-trial").replaceChildren(
      el("option", { value: 0 }, "at the very start, before any trial"),
      ...kept.map((t) => el("option", { value: t.number, selected: t.number === chosen }, `after trial ${t.number}: ${arrow(t.changes)}`)),
    );
  }

  async #send() {
    const { command, trial } = this.#order,
      by = $("ask-by").value.trim(),
      reason = $("ask-reason").value.trim();
    this.#token = $("ask-token").value;
    const order = { by };
    if (reason) order.reason = reason;
    if (command === "rollback") order.trial = Number($("ask-trial").value);
    else if (trial != null) order.trial = trial;
    const headers = { "Content-Type": "application/json" };
    if (this.#token) headers.Authorization = "Bearer " + this.#token;
    $("ask-do").disabled = true;
    try {
      const answer = await fetch("api/v1/" + command, { method: "POST", headers, body: JSON.stringify(order), signal: AbortSignal.timeout(8000) });
      if (!answer.ok) {
        const said = await answer.text();
        let error = said;
        try {
          error = JSON.parse(said).error;
        } catch {
          /* not from the API: shown as it is */
        }
        if (answer.status === 401) this.#token = "";
        throw new Error(error);
      }
      try {
        localStorage.setItem("by", by);
      } catch {
        /* asked again next time */
      }
      $("ask").close();
      this.say(`${what[command][0]}: accepted, and in the ledger.`);
      await this.#after();
    } catch (problem) {
      text($("ask-error"), "Refused: " + problem.message);
    } finally {
      $("ask-do").disabled = false;
    }
  }

  #quiet = 0;
  say(words) {
    text($("said"), words);
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => text($("said"), ""), 6000);
  }
}
