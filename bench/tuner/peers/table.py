#!/usr/bin/env python3
"""Prints what record.py recorded, in the columns of bench/tuner. usage: table.py FILE"""
import json
import sys


def line(surface, sampler, runs):
    def at(n):
        values = sorted(r[n - 1] / 1000 for r in runs)
        return sum(values) / len(values), values[len(values) // 10]

    to95 = sum(next((i for i, f in enumerate(r) if f >= 950), len(r)) + 1 for r in runs) / len(runs)
    print(f"{surface:16} {sampler:10} {at(10)[0]:6.3f} {at(25)[0]:6.3f} {at(40)[0]:6.3f} {at(25)[1]:6.3f} {at(40)[1]:6.3f} {to95:6.1f}")


everything = {}
print(f"{'surface':16} {'sampler':10} {'mean10':>6} {'mean25':>6} {'mean40':>6} {'p10@25':>6} {'p10@40':>6} {'to95':>6}")
for r in map(json.loads, open(sys.argv[1])):
    line(r["surface"], r["sampler"], r["fractions"])
    everything.setdefault(r["sampler"], []).append(r["fractions"])
for sampler, surfaces in everything.items():
    line(f"all {len(surfaces)}", sampler, sum(surfaces, []))
