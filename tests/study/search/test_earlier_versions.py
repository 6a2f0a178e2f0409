"""A smaller study that was begun with an earlier galatune continues, or is refused in one line."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial
from tiny_search import KEPT, go, load

from galatune.errors import PlanError
from galatune.study.ledger.rows import ledger
from galatune.study.scan.plan import ShrinkPlan
from galatune.study.search.fixed_trial import fixed_trial

STUDY = """
{"schema": 1,
 "plan": {"storage": "old.log", "study": "old", "directions": ["minimize"],
  "trials": {"total": 3, "complete": 3, "pruned": 0, "failed": 0, "running": 0, "waiting": 0},
  "hours": null,
  "learning_rate": [{"name": "lr", "role": "rate", "distribution": "float 1e-05 to 1, log",
   "placeholder": 8.228870631122723e-05, "dropped": true,
   "evidence": "its name; a logarithmic range of rates; beside weight_decay, width",
   "distribution_json": "{\\"name\\": \\"FloatDistribution\\", \\"attributes\\":\
 {\\"step\\": null, \\"low\\": 1e-05, \\"high\\": 1.0, \\"log\\": true}}", "scale": "rate"}],
  "kept": ["width", "weight_decay"], "refused": [], "unique_configurations": 3,
  "projected": [{"way": "replay", "trials": 3, "hours": null, "assumption": "every remaining one once"}],
  "running": [], "constrained": false, "note": null},
 "source": {"storage": "old.log", "study": "old", "sampler": null, "best_value": 1.0},
 "objective": {"reference": "tiny_search.py:objective", "sha256": null},
 "options": {"trials": 2, "until_match": false, "tolerance": 0.01, "patience": null, "confirm": false,
  "seed": 0, "min_lr": 0.0, "max_lr": null, "probe": "auto", "step_scale": null, "per_group": false,
  "pace": null},
 "sampler": "TPESampler", "pruner": "NopPruner", "seed": 0,
 "versions": {"galatune": "0.1.0"}, "machine": {"platform": "Linux", "processor": "x", "cores": "2"},
 "stopped_because": "the budget of 2 trials is used up"}
"""

TRIAL = """
{"schema": 1,
 "optimizers": [{"name": "AdamW", "controlled": true, "probe": "graph",
  "reason": "its initial rate follows lr"}],
 "steps": 12, "probes": 11, "gradient_evaluations": 34,
 "learning_rate": [[0, 1, 2.588813432044174e-06], [0, 12, 0.005301889908826469]],
 "events": [[0, 1, "probe", "gradient pairs come from the graph probe"]],
 "machine": {"platform": "Linux", "processor": "x", "cores": "2", "device": "cpu"},
 "versions": {"galatune": "0.1.0"}}
"""


AGAIN = "interrupted; its configuration is tried again"


def begun(**options: Any) -> optuna.Study:
    """As it lies in the journal: a trial that was interrupted, and the one that was queued in its place."""
    study = optuna.create_study(study_name="old-gala", storage=JournalStorage(JournalFileBackend("new.log")))
    body = json.loads(STUDY)
    study.set_user_attr("galatune", {**body, "options": {**body["options"], **options}})
    params = {"width": 4, "weight_decay": 3.513612918527467e-05}
    stopped = {"galatune_interrupted": True, "galatune_reason": AGAIN}
    done = {"galatune": json.loads(TRIAL), "galatune_ticket": 0}
    for state, attributes in ((TrialState.FAIL, stopped), (TrialState.COMPLETE, done)):
        value = 6.05 if state == TrialState.COMPLETE else None
        study.add_trial(
            create_trial(
                state=state, params=params, distributions=dict(KEPT), value=value, user_attrs=attributes
            )
        )
    return study


def test_an_earlier_study_continues_with_the_next_ticket(plan: ShrinkPlan) -> None:
    begun()
    study = go(plan, trials=3)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert study.user_attrs["galatune"]["stopped_because"] == "the budget of 3 trials is used up"
    fresh = go(plan, into="fresh.log", trials=3)
    assert study.trials[2].params == fresh.trials[1].params, "ticket 1, as if nothing had been interrupted"


def test_an_earlier_study_is_reported(plan: ShrinkPlan) -> None:
    rows = ledger(begun())
    assert rows.provenance.source["best_value"] == 1.0
    assert rows.provenance.objective == "tiny_search.py:objective"
    assert (rows.rows[1].steps, rows.rows[1].probes, rows.rows[1].gradient_evaluations) == (12, 11, 34)
    assert rows.rows[0].reason == AGAIN
    assert fixed_trial(load()).suggest_float("lr", 1e-5, 1.0, log=True) == 0.005301889908826469


def test_an_earlier_study_with_another_growth_is_refused_in_one_line(plan: ShrinkPlan) -> None:
    begun(pace=1.2)
    words = r"begun with max_growth_per_step 1.2 \(now not set\); continue it all the same with --yes"
    with pytest.raises(PlanError, match=words) as error:
        go(plan, trials=3)
    assert "\n" not in str(error.value)
    assert len(go(plan, trials=2, max_growth_per_step=1.2).trials) == 3


def test_what_is_not_known_any_more_is_refused_in_one_line(plan: ShrinkPlan) -> None:
    study = begun()
    study.set_user_attr("galatune", {"schema": 1, "plan": {"study": "old"}})
    with pytest.raises(PlanError, match="Not a plan of galatune's"):
        go(plan, trials=3)
