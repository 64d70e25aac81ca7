#!/usr/bin/env python3
"""Records what the optimisers of PyPI do on the surfaces of bench/surfaces, with the noise of tuner replay.

usage: record.py SURFACES OUT [--seeds N] [--trials N] [--only NAME] [--samplers tpe,cmaes,gp]

SURFACES is a folder that `go run ./bench/tuner -write -dir SURFACES` filled. OUT gets one line of JSON per surface and sampler: the true best
feasible value so far as a fraction of the optimum, in thousandths, per seed and trial. What is there already is not run again.

Each sampler is given what the tuner's search is given: the start as its first trial, each knob's steps in order as integers (choices as
categories), and the constraint by the means that it has for it. A suggestion that no row has is answered by the row that is nearest, so that none is at
a disadvantage for not knowing the rows; a configuration that was tried already is measured again, as it asked for it.
"""
import argparse
import csv
import json
import os
import re
import sys
import warnings

import numpy as np
import optuna

warnings.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)

NOISE = {"noisy": (0.15, 0.05)}  # the others: 5 %, nothing disturbed


class Surface:
    def __init__(self, folder, name):
        self.name = name
        text = open(os.path.join(folder, name + ".yaml")).read()
        self.limit = float(re.search(r"latency <= (\S+)", text).group(1))
        with open(os.path.join(folder, name + ".csv")) as file:
            rows = list(csv.DictReader(file))
        self.knobs = re.findall(r"- name: (\S+)", text)
        blocks = text.split("- name: ")[1:]
        self.choices = ["type: categorical" in b for b in blocks]
        start = [re.search(r'default: "(.*)"', b).group(1) for b in blocks]
        self.levels = []
        for knob, names in zip(self.knobs, self.choices):
            values = {r[knob] for r in rows}
            self.levels.append(sorted(values) if names else sorted(values, key=float))
        self.rows = np.array([[levels.index(r[k]) for k, levels in zip(self.knobs, self.levels)] for r in rows])
        self.throughput = np.array([float(r["throughput"]) for r in rows])
        self.latency = np.array([float(r["latency"]) for r in rows])
        self.optimum = self.throughput[self.latency <= self.limit].max()
        self.start = [levels.index(v) for v, levels in zip(start, self.levels)]
        self.noise, self.outliers = NOISE.get(name, (0.05, 0.0))

    def nearest(self, at):
        span = np.array([max(len(levels) - 1, 1) for levels in self.levels])
        apart = np.where(self.choices, self.rows != at, np.abs(self.rows - at) / span)
        return int(apart.sum(axis=1).argmin())

    def measure(self, row, rng):
        t = self.throughput[row] * max(1 + self.noise * rng.standard_normal(), 0.05)
        l = self.latency[row] * max(1 + self.noise * rng.standard_normal(), 0.05)
        if rng.random() < self.outliers:
            by = 0.3 + 0.4 * rng.random()
            t, l = t * by, l / by
        return t, l


def sampler(kind, seed):
    def broken(trial):
        return trial.user_attrs["broken"]

    if kind == "tpe":
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, constraints_func=broken)
    if kind == "gp":
        return optuna.samplers.GPSampler(seed=seed, constraints_func=broken, deterministic_objective=False)
    if kind == "cmaes":
        return optuna.samplers.CmaEsSampler(seed=seed)
    sys.exit(f"want tpe, gp or cmaes (got {kind})")


def run(surface, kind, seed, trials):
    rng = np.random.default_rng(seed)
    study = optuna.create_study(direction="maximize", sampler=sampler(kind, seed))
    named = lambda i, v: surface.levels[i][v] if surface.choices[i] else v
    study.enqueue_trial({k: named(i, v) for i, (k, v) in enumerate(zip(surface.knobs, surface.start))})
    best, trace = 0.0, []
    for _ in range(trials):
        trial = study.ask()
        at = []
        for i, knob in enumerate(surface.knobs):
            if surface.choices[i]:
                at.append(surface.levels[i].index(trial.suggest_categorical(knob, surface.levels[i])))
            else:
                at.append(trial.suggest_int(knob, 0, len(surface.levels[i]) - 1))
        row = surface.nearest(at)
        throughput, latency = surface.measure(row, rng)
        trial.set_user_attr("broken", [latency / surface.limit - 1])
        if kind == "cmaes" and latency > surface.limit:  # it knows no constraints: what breaks one is worth less, the more the farther
            throughput = throughput * 0.5 * surface.limit / latency
        study.tell(trial, throughput)
        if surface.latency[row] <= surface.limit:
            best = max(best, surface.throughput[row] / surface.optimum)
        trace.append(int(round(best * 1000)))
    return trace


def main():
    p = argparse.ArgumentParser()
    p.add_argument("surfaces")
    p.add_argument("out")
    p.add_argument("--seeds", type=int, default=50)
    p.add_argument("--trials", type=int, default=40)
    p.add_argument("--only", default="")
    p.add_argument("--samplers", default="tpe,cmaes")
    a = p.parse_args()
    done = set()
    if os.path.exists(a.out):
        done = {(r["surface"], r["sampler"], r["seeds"]) for r in map(json.loads, open(a.out))}
    names = sorted(f[:-4] for f in os.listdir(a.surfaces) if f.endswith(".csv") and a.only in f)
    for name in names:
        surface = Surface(a.surfaces, name)
        for kind in a.samplers.split(","):
            if (name, kind, a.seeds) in done:
                continue
            runs = []
            for seed in range(1, a.seeds + 1):
                runs.append(run(surface, kind, seed, a.trials))
                print(f"\r{name} {kind}: {seed} of {a.seeds} studies", end="", file=sys.stderr, flush=True)
            end = np.array(runs)[:, -1] / 1000
            print(f", mean {end.mean():.3f} at the end", file=sys.stderr)
            line = {"surface": name, "sampler": kind, "optuna": optuna.__version__, "seeds": a.seeds, "fractions": runs}
            with open(a.out, "a") as out:
                out.write(json.dumps(line, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
