#!/usr/bin/env python3
"""Records what the optimisers of PyPI do on the surfaces of bench/surfaces, with the noise of tuner replay.

usage: record.py SURFACES OUT [--peers NAME,…] [--seeds N] [--trials N] [--only SURFACE]

SURFACES is a folder with pairs of NAME.csv and NAME.yaml as tuner replay reads them; `go run ./bench/tuner -write -dir SURFACES` fills one. OUT gets
a line of JSON for each study, as soon as it has ended: surface, digest of its rows, peer, version, seed, trials, and each improvement of the true best feasible
value so far as [trial, fraction of the optimum]. Studies that OUT has are not run again, so the script may be stopped and started at will; it goes
through all peers and surfaces with one seed before the next.

Every peer gets what the tuner's search gets: the start as its first trial, each knob's steps in order as whole numbers, and choices as choices (CMA-ES has
none: as whole numbers). Optuna's samplers are told how far the constraint is broken. SMAC, HEBO and CMA-ES take no constraint: what breaks it is worth
half as much, and less the farther it breaks it. A suggestion that no row has is answered by the nearest row, so that nobody is at a disadvantage for not
knowing the rows. A configuration that was tried already is measured again, as it was asked for.
"""
import argparse
import csv
import hashlib
import importlib.metadata
import io
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import warnings

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # the matrices are small

import numpy as np
import yaml

NOISE = {"noisy": (0.15, 0.05)}  # the others: 5 %, nothing disturbed


class Surface:
    def __init__(self, folder, name):
        self.name = name
        with open(os.path.join(folder, name + ".yaml")) as file:
            about = yaml.safe_load(file)
        with open(os.path.join(folder, name + ".csv"), "rb") as file:
            text = file.read()
        self.digest = hashlib.sha256(text).hexdigest()[:16]
        rows = list(csv.DictReader(io.StringIO(text.decode())))
        constraint, self.limit = re.fullmatch(r"(\S+) <= (\S+)", about["constraints"]).groups()
        self.limit = float(self.limit)
        self.knobs = [k["name"] for k in about["knobs"]]
        self.choices = [k.get("type") == "categorical" for k in about["knobs"]]
        self.levels = []
        for knob, names in zip(self.knobs, self.choices):
            values = {r[knob] for r in rows}
            self.levels.append(sorted(values) if names else sorted(values, key=float))
        self.rows = np.array([[levels.index(r[k]) for k, levels in zip(self.knobs, self.levels)] for r in rows])
        self.throughput = np.array([float(r[about["maximize"]]) for r in rows])
        self.latency = np.array([float(r[constraint]) for r in rows])
        self.optimum = self.throughput[self.latency <= self.limit].max()
        self.start = [levels.index(str(k["default"])) for k, levels in zip(about["knobs"], self.levels)]
        self.noise, self.outliers = NOISE.get(name, (0.05, 0.0))

    def nearest(self, at):
        span = np.array([max(len(levels) - 1, 1) for levels in self.levels])
        apart = np.where(self.choices, self.rows != at, np.abs(self.rows - at) / span)
        return int(apart.sum(axis=1).argmin())

    def measure(self, row, rng):
        throughput = self.throughput[row] * max(1 + self.noise * rng.standard_normal(), 0.05)
        latency = self.latency[row] * max(1 + self.noise * rng.standard_normal(), 0.05)
        if rng.random() < self.outliers:
            by = 0.3 + 0.4 * rng.random()
            throughput, latency = throughput * by, latency / by
        return throughput, latency

    def cost(self, throughput, latency):
        """What an optimiser without constraints is to minimise: positive, and by ratio, as SMAC takes logarithms."""
        if latency > self.limit:
            throughput *= 0.5 * self.limit / latency
        return self.throughput.mean() / throughput


class Optuna:
    package = "optuna"

    def __init__(self, surface, seed, trials):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.surface = surface
        self.study = optuna.create_study(direction="maximize", sampler=self.sampler(optuna.samplers, seed))
        start = {k: self.value(i, v) for i, (k, v) in enumerate(zip(surface.knobs, surface.start))}
        self.study.enqueue_trial(start)

    def value(self, knob, at):
        return self.surface.levels[knob][at] if self.surface.choices[knob] else at

    def ask(self):
        self.trial = self.study.ask()
        at = []
        for knob, levels, choice in zip(self.surface.knobs, self.surface.levels, self.surface.choices):
            if choice:
                at.append(levels.index(self.trial.suggest_categorical(knob, levels)))
            else:
                at.append(self.trial.suggest_int(knob, 0, len(levels) - 1))
        return at

    def tell(self, throughput, latency):
        self.trial.set_user_attr("broken", [latency / self.surface.limit - 1])
        self.study.tell(self.trial, throughput)


def broken(trial):
    return trial.user_attrs["broken"]


class TPE(Optuna):
    def sampler(self, of, seed):
        return of.TPESampler(seed=seed, multivariate=True, constraints_func=broken)


class GP(Optuna):
    def sampler(self, of, seed):
        return of.GPSampler(seed=seed, constraints_func=broken, deterministic_objective=False)


class SMAC:
    """With its forest. Told that what it measures is exact: otherwise it would spend trials on measuring again, which this record does not reward."""

    package = "smac"

    def __init__(self, surface, seed, trials):
        import ConfigSpace
        import smac

        logging.disable(logging.CRITICAL)
        self.surface, self.folder = surface, tempfile.mkdtemp()
        self.space = ConfigSpace.ConfigurationSpace(seed=seed)
        for knob, levels, choice in zip(surface.knobs, surface.levels, surface.choices):
            if choice:
                self.space.add(ConfigSpace.CategoricalHyperparameter(knob, levels))
            else:
                self.space.add(ConfigSpace.UniformIntegerHyperparameter(knob, 0, len(levels) - 1))
        start = {k: levels[at] if choice else at for k, levels, choice, at in zip(surface.knobs, surface.levels, surface.choices, surface.start)}
        self.start = ConfigSpace.Configuration(self.space, start)
        scenario = smac.Scenario(self.space, n_trials=trials, deterministic=True, seed=seed, output_directory=self.folder)
        facade = smac.HyperparameterOptimizationFacade
        self.smac = facade(
            scenario, lambda config, seed=0: 0.0, initial_design=facade.get_initial_design(scenario, additional_configs=[self.start]),
            logging_level=False, overwrite=True,
        )
        self.info = None

    def ask(self):
        if self.info is None:
            from smac.runhistory.dataclasses import TrialInfo

            self.info = TrialInfo(self.start, seed=0)
        else:
            self.info = self.smac.ask()
        values = dict(self.info.config)
        return [levels.index(values[k]) if c else int(values[k]) for k, levels, c in zip(self.surface.knobs, self.surface.levels, self.surface.choices)]

    def tell(self, throughput, latency):
        from smac.runhistory.dataclasses import TrialValue

        self.smac.tell(self.info, TrialValue(cost=self.surface.cost(throughput, latency)), save=False)

    def close(self):
        shutil.rmtree(self.folder)


class HEBO:
    package = "HEBO"

    def __init__(self, surface, seed, trials):
        import pandas
        import torch
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO as Optimizer

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        np.random.seed(seed)
        self.surface = surface
        space = []
        for knob, levels, choice in zip(surface.knobs, surface.levels, surface.choices):
            kind = {"type": "cat", "categories": levels} if choice else {"type": "int", "lb": 0, "ub": len(levels) - 1}
            space.append({"name": knob, **kind})
        self.optimizer = Optimizer(DesignSpace().parse(space), scramble_seed=seed)
        start = [levels[at] if c else at for levels, c, at in zip(surface.levels, surface.choices, surface.start)]
        self.row = pandas.DataFrame([start], columns=surface.knobs)
        self.first = True

    def ask(self):
        if not self.first:
            self.row = self.optimizer.suggest(n_suggestions=1)
        self.first = False
        values = [self.row.iloc[0][k] for k in self.surface.knobs]
        return [levels.index(v) if c else int(v) for v, levels, c in zip(values, self.surface.levels, self.surface.choices)]

    def tell(self, throughput, latency):
        self.optimizer.observe(self.row, np.array([[self.surface.cost(throughput, latency)]]))


class CMAES:
    package = "cma"

    def __init__(self, surface, seed, trials):
        import cma

        self.surface = surface
        top = [len(levels) - 1 for levels in surface.levels]
        options = {
            "seed": seed, "bounds": [[0] * len(top), top], "CMA_stds": [max(t, 1) for t in top], "integer_variables": list(range(len(top))),
            "verbose": -9, "tolflatfitness": trials,
        }
        self.es = cma.CMAEvolutionStrategy(surface.start, 0.3, options)
        self.asked, self.told = [surface.start], None

    def ask(self):
        return [int(round(v)) for v in self.asked[0 if self.told is None else len(self.told)]]

    def tell(self, throughput, latency):
        if self.told is not None:  # the start is the first generation's mean
            self.told.append(self.surface.cost(throughput, latency))
        if self.told is None or len(self.told) == len(self.asked):
            if self.told:
                self.es.tell(self.asked, self.told)
            self.asked, self.told = self.es.ask(), []


PEERS = {"tpe": TPE, "optuna-gp": GP, "smac": SMAC, "hebo": HEBO, "cma-es": CMAES}


def study(surface, peer, seed, trials):
    rng = np.random.default_rng(seed)
    optimizer = PEERS[peer](surface, seed, trials)
    best, trace = 0.0, []
    for trial in range(1, trials + 1):
        row = surface.nearest(optimizer.ask())
        optimizer.tell(*surface.measure(row, rng))
        fraction = surface.throughput[row] / surface.optimum
        if surface.latency[row] <= surface.limit and fraction > best:
            best = fraction
            trace.append([trial, round(float(best), 4)])
    if hasattr(optimizer, "close"):
        optimizer.close()
    return trace


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("surfaces")
    p.add_argument("out")
    p.add_argument("--peers", default=",".join(PEERS))
    p.add_argument("--seeds", type=int, default=50)
    p.add_argument("--trials", type=int, default=40)
    p.add_argument("--only", default="")
    a = p.parse_args()
    peers = a.peers.split(",")
    if unknown := [k for k in peers if k not in PEERS]:
        sys.exit(f"record.py: want --peers of {', '.join(PEERS)} (got {', '.join(unknown)})")
    warnings.filterwarnings("ignore")
    done = set()
    if os.path.exists(a.out):
        with open(a.out) as file:
            done = {(r["csv"], r["peer"], r["seed"], r["trials"]) for r in map(json.loads, file)}
    names = sorted(f[:-4] for f in os.listdir(a.surfaces) if f.endswith(".csv") and a.only in f)
    surfaces = [Surface(a.surfaces, name) for name in names]
    for seed in range(1, a.seeds + 1):
        for peer in peers:
            for surface in surfaces:
                if (surface.digest, peer, seed, a.trials) in done:
                    continue
                improvements = study(surface, peer, seed, a.trials)
                line = {
                    "surface": surface.name, "csv": surface.digest, "peer": peer, "version": importlib.metadata.version(PEERS[peer].package),
                    "seed": seed, "trials": a.trials, "improvements": improvements,
                }
                with open(a.out, "a") as out:
                    out.write(json.dumps(line, separators=(",", ":")) + "\n")
                print(f"{surface.name} {peer} {seed}: {improvements[-1][1] if improvements else 0:.3f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
