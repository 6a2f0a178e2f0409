"""Reinforcement learning with fixed rates, under control, and under control within bounds.

    python tests/reference/policies.py SPEC ...

A SPEC is ``algorithm:rate:seed``, or ``algorithm:control:seed``, or with bounds
``algorithm:control:seed:max_lr[:min_lr]``; the algorithm is ppo, dqn or sac. One line is printed for each:
the mean return of ten episodes after the training, that of the last training episodes, the applied rates.
It wants stable-baselines3 (``pip install -c constraints.txt stable-baselines3``); pytest does not collect it.
The table of docs/handbook.md is made of these lines.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from typing import Any

import torch

import galatune

STEPS = {"ppo": 12_288, "dqn": 9_600, "sac": 4_800}
ENVIRONMENT = {"ppo": ("CartPole-v1", 8), "dqn": ("CartPole-v1", 8), "sac": ("Pendulum-v1", 4)}
SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {"n_steps": 64, "batch_size": 128, "n_epochs": 6},
    "dqn": {
        "buffer_size": 20_000,
        "learning_starts": 800,
        "batch_size": 64,
        "train_freq": 2,
        "gradient_steps": 3,
        "target_update_interval": 200,
        "exploration_fraction": 0.3,
    },
    "sac": {"learning_starts": 400, "batch_size": 128, "policy_kwargs": {"net_arch": [64, 64]}},
}


def measured(algorithm: str, rate: float | None, seed: int, **bounds: float) -> str:
    """Train once; what came of it, in words."""
    import stable_baselines3
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    name, copies = ENVIRONMENT[algorithm]
    start = time.monotonic()
    control = galatune.controlled(**bounds) if rate is None else contextlib.nullcontext()
    with control as capture:
        model = getattr(stable_baselines3, algorithm.upper())(
            "MlpPolicy",
            make_vec_env(name, n_envs=copies, seed=seed),
            learning_rate=1e-3 if rate is None else rate,
            seed=seed,
            device="cpu",
            **SETTINGS[algorithm],
        )
        model.learn(STEPS[algorithm])
    mean, _ = evaluate_policy(model, make_vec_env(name, n_envs=10, seed=1000 + seed), n_eval_episodes=10)
    last = statistics.mean(episode["r"] for episode in list(model.ep_info_buffer)[-10:])
    rates = []
    for controller in () if capture is None else capture.controllers:
        applied = [value for _, value in controller.rate_curve.points()]
        rates.append(f"{applied[-1]:.2g} (at most {max(applied):.2g})")
    seconds = time.monotonic() - start
    return f"return {mean:.1f}, while training {last:.1f}, rates {', '.join(rates) or rate}, {seconds:.0f} s"


def main() -> None:
    """Measure what is named on the command line."""
    torch.set_num_threads(1)
    for spec in sys.argv[1:]:
        algorithm, rate, seed, *given = spec.split(":")
        bounds = dict(zip(("max_lr", "min_lr"), map(float, given), strict=False))
        fixed = None if rate == "control" else float(rate)
        print(spec, measured(algorithm, fixed, int(seed), **bounds), flush=True)


if __name__ == "__main__":
    main()
