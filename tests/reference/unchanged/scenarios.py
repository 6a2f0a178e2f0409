"""What is compared, by name."""

from __future__ import annotations

import functools
import itertools
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from others import estimator, refusals, smaller_study
from spelling import ALIGNMENTS
from training import RANKS, Loop

__all__ = ["exact", "scenarios"]

OFTEN = {"probe_schedule": {"every": 10, "first": 30, "thinning": 0.0}}
SGD: dict[str, Any] = {"kind": "SGD", "settings": {"momentum": 0.9}}
KINDS: dict[str, dict[str, Any]] = {
    "AdamW": {},
    "SGD momentum": SGD,
    "RMSprop": {"kind": "RMSprop"},
    "Sign": {"kind": "Sign"},
}
OTHERS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "Adam": {"amsgrad": True, "weight_decay": 1e-3},
    **{kind: {"weight_decay": 1e-3} for kind in ("NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "ASGD")},
    "RMSprop": {"centered": True, "momentum": 0.5},
}
LEARNERS: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        name: (name, {})
        for name in ("DiscountedFTRL", "CoinBetting", "OnlineGradientDescent", "FTRL", "OptimisticFTRL")
    },
    "CoinBetting wealth": ("CoinBetting", {"initial_wealth": 1e-3}),
    "OnlineGradientDescent rate": ("OnlineGradientDescent", {"initial_rate": 1e-3, "discount": 0.9}),
    **{f"FTRL {r}": ("FTRL", {"regularizer": r}) for r in ("Unregularized", "Proximal", "LogScale")},
}
SPIKES = {40: 30.0, 41: 30.0, 70: 50.0}
GUARDS: dict[str, dict[str, Any]] = {
    "default": {},
    "spike": {"spike": 3.0},
    "confidence": {"confidence": 0.3},
    "smoothing": {"smoothing": 0.5},
    "growth": {"growth": 1.5, "shrink": 2.0, "max_growth_per_step": 2.0},
    "unlimited": {"growth": float("inf"), "max_growth_per_step": 1.02},
    "roll back": {"reaction": "roll back", "spike": 3.0},
    "one roll back": {"reaction": "roll back", "spike": 3.0, "rollbacks": 1},
    "stop": {"reaction": "stop"},
}
PROBES = ("graph", "closure", "echo", "consecutive")
OPTIONS: dict[str, dict[str, Any]] = {
    **{f"alignment {a}": {"alignment": a, **OFTEN} for a in ALIGNMENTS},
    "step scale": {"step_scale": 0.7},
    "bounds": {"min_lr": 1e-3, "max_lr": 2e-2},
    "schedule": {"probe_schedule": {"every": 3, "first": 5, "thinning": 0.3}},
}
RANKED = {
    **{f"copies {probe}": Loop(probe, wrap="copies", steps=60, cosine=True) for probe in PROBES},
    "copies SGD groups": Loop("graph", **SGD, wrap="copies", steps=60, groups=True, parts=2),
    "shards closure": Loop("closure", wrap="shards", steps=60),
}


def scenarios() -> dict[str, Callable[[], Any]]:
    """By name; each returns what is to be compared."""
    found: dict[str, Callable[[], Any]] = {}
    for probe, (name, kind), cosine in itertools.product(PROBES, KINDS.items(), (False, True)):
        found[f"{probe}, {name}{', cosine' * cosine}"] = Loop(probe, cosine=cosine, **kind)
    for probe in PROBES:
        groups = Loop(probe, groups=True, cosine=True, options={"per_group": True})
        found[f"per group, {probe}"] = groups
        found[f"per group, {probe}, SGD"] = replace(groups, cosine=False, **SGD)
        found[f"two groups, {probe}"] = Loop(probe, groups=True, **SGD)
        found[f"resumed, {probe}"] = Loop(probe, resumed=(5, 6, 30, 60, 61, 70), options=OFTEN)
        found[f"resumed, {probe}, SGD, cosine"] = Loop(probe, resumed=(7, 31, 62), cosine=True, **SGD)
        found[f"clipped, {probe}"] = Loop(probe, clip=0.1, **SGD)
        found[f"accumulated, {probe}"] = Loop(probe, parts=2)
        found[f"frozen, {probe}"] = Loop(probe, frozen=50, cosine=True)
        for name, guard in GUARDS.items():
            options = {"guard": guard, **OFTEN, "probe_schedule": {"every": 1, "first": 10, "thinning": 0.0}}
            outliers = {90: float("nan")} if name in ("default", "stop") else {}
            found[f"guard {name}, {probe}"] = Loop(probe, options=options, outliers=SPIKES | outliers)
    for kind, settings in OTHERS.items():
        for probe in ("graph", "echo"):
            found[f"optimizer {kind}, {probe}"] = Loop(probe, kind, settings, options=OFTEN)
    for name, learner in LEARNERS.items():
        for kind in ("AdamW", "SGD momentum"):
            found[f"learner {name}, {kind}"] = Loop("graph", options={"learner": learner}, **KINDS[kind])
    for name, options in OPTIONS.items():
        found[f"option {name}"] = Loop("closure", options=options, cosine=True)
    overflows = {20: float("inf"), 21: float("inf"), 50: float("inf")}
    for kind, fused, probe in itertools.product(("Adam", "SGD"), (False, True), ("graph", "echo")):
        name = f"scaled, {kind}{', fused' * fused}, {probe}"
        found[name] = Loop(probe, kind, {"fused": fused}, scale=2.0**10, outliers=overflows)
    found["scaled, float16"] = Loop("graph", scale=2.0**30, autocast=True)
    found["scaled, clipped"] = Loop("graph", scale=2.0**10, clip=0.1, **SGD)
    found["bfloat16"] = Loop("graph", dtype=torch.bfloat16)
    found["float64"] = Loop("graph", dtype=torch.float64)
    found["auto, once"] = Loop(once=True)
    found["auto, once, by hand"] = Loop(once=True, by_hand=True)
    found["refusals"] = refusals
    found["two ranks"] = on_ranks
    found |= {
        f"estimator {kind}": functools.partial(estimator, kind)
        for kind in ("GalaClassifier", "GalaRegressor")
    }
    found["study"] = smaller_study
    return found


def on_ranks() -> dict[str, Any]:
    """What each of two ranks saw of the trainings that they share."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(one_rank, (folder,), RANKS)
        return {f"rank {rank}": json.loads(Path(folder, str(rank)).read_text()) for rank in range(RANKS)}


def one_rank(rank: int, folder: str) -> None:
    """The process of one rank."""
    torch.set_num_threads(1)
    meeting, wait = f"file://{folder}/meeting", timedelta(minutes=2)
    torch.distributed.init_process_group("gloo", meeting, wait, rank=rank, world_size=RANKS)
    found = {name: exact(loop(rank)) for name, loop in RANKED.items()}
    Path(folder, str(rank)).write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def exact(value: Any) -> Any:
    """As JSON, floats by all their digits."""
    if isinstance(value, dict):
        return {str(key): exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [exact(item) for item in value]
    if isinstance(value, float):
        return value.hex()
    return exact(value.tolist()) if hasattr(value, "tolist") else value
