"""The names of everything that galatune leaves in a study, and of what it reads there of Optuna's own.

They are a contract: a study that was begun with one version is continued and reported by another.
"""

from __future__ import annotations

__all__ = [
    "BEAT",
    "DEMO",
    "DROPPED",
    "ENDS",
    "GOAL",
    "GRID_CELL",
    "GRID_VALUES",
    "INTERRUPTED",
    "LR_FINAL",
    "LR_PEAK",
    "MACHINE",
    "OBJECTIVE_CONSTRAINTS",
    "OWN_STEP",
    "PILOT",
    "POLISH",
    "PROCESS",
    "REASON",
    "RECORD",
    "REPEATS",
    "REPORTED_BEFORE",
    "SAMPLER_CONSTRAINTS",
    "SCHEMA",
    "STAGE",
    "TICKET",
    "UNFINISHED",
    "WARM_START",
]

RECORD = "galatune"
"""User attribute. Of a trial: its `TrialRecord`. Of the smaller study: its `Provenance`."""

GOAL = "galatune_goal"
"""User attribute of the smaller study: its goal, written once the old best was repeated (`ledger.goal`)."""

SCHEMA = 1
"""Of both, under the key "schema"."""

UNFINISHED = "interrupted"
"""Value of "stopped_because" in `RECORD` of the study while its search is not over."""

# -- user attributes of a trial whose rate was controlled

LR_PEAK = "galatune_lr_peak"
"""Highest rate as applied, of all optimizers."""

LR_FINAL = "galatune_lr_final"
"""Rate of the last step as applied, of the optimizer that had the highest then."""

DROPPED = "galatune_dropped"
"""What `galatune.optimize` answered with constants: the fields of each `RateDimension`."""

# -- user attributes of a trial of the smaller study

STAGE = "galatune_stage"
""" "repeat", "pilot", "confirm" or "polish" if the trial is not part of the search."""

REPEATS = "galatune_repeats"
"""What a trial of the stage "repeat" or "confirm" repeats: "of", how many such repeats there are; "trial",
the number of the trial in the smaller study, None for the old study's best; "rates", the old best's values
of the dropped dimensions, at which it is repeated."""

PILOT = "galatune_pilot"
"""Of a trial of the stage "pilot": its `PilotArm`. Of the smaller study: the `PilotTerms`, written before the
first pair."""

POLISH = "galatune_polish"
"""Of a trial of the stage "polish": its `Polish`."""

WARM_START = "galatune_warm_start"
"""Number of the old trial whose configuration was enqueued, if the trial is part of the warm start."""

ENDS = "galatune_ends"
"""How often a worker ended by itself while it ran a trial of this ticket."""

REASON = "galatune_reason"
"""Why the trial is FAIL, in words."""

INTERRUPTED = "galatune_interrupted"
"""True if the trial was stopped from outside: its ticket is issued again."""

OWN_STEP = "galatune_own_step"
"""The choice that led to an optimizer that sets its own step: the trial is FAIL and uses no ticket."""

PROCESS = "galatune_process"
"""The process that runs the trial, as `this_process` describes it, with "claim", of this trial alone, and
"beat", the seconds between two beats. Of a trial that was released: the process that released it."""

BEAT = "galatune_beat"
"""Counts up while the process of a running trial is alive."""

TICKET = "galatune_ticket"
"""The ticket of a trial, from the moment it is claimed or queued again."""

REPORTED_BEFORE = "galatune_reported_before"
"""True if the trial was queued with reports: its curve is not that of a training under control alone."""

# -- user attributes of an old study

MACHINE = "galatune_machine"
"""The machine that an old study ran on: "platform", "processor", "cores", "device"."""

DEMO = "galatune_demo"
"""The options that `galatune demo` made the old study with."""

# -- system attributes that Optuna writes

GRID_CELL = "grid_id"
"""The cell that GridSampler drew for a trial."""

GRID_VALUES = "search_space"
"""Its grid: parameter to list of values."""

SAMPLER_CONSTRAINTS = "constraints"
"""A list: what a sampler's ``constraints_func`` said of the trial."""

OBJECTIVE_CONSTRAINTS = "constraints:"
"""Beginning of the names that ``trial.set_constraint`` makes (Optuna 5)."""
