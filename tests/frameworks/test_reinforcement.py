"""stable-baselines3: PPO, A2C, DQN and SAC run under control. How well they learn is measured elsewhere."""

from __future__ import annotations

import pytest
import torch

from .training import Result, assert_unchanged, control, load, weights


def train(rate, seed, how, *, kind="PPO"):
    baselines = load("stable_baselines3")
    load("gymnasium")
    environment = "Pendulum-v1" if kind == "SAC" else "CartPole-v1"
    policy = {"net_arch": [16]}
    options = {
        "PPO": {"n_steps": 64, "batch_size": 32, "n_epochs": 3},
        "A2C": {"n_steps": 8},
        "DQN": {"learning_starts": 40, "train_freq": 2, "batch_size": 16, "target_update_interval": 40},
        "SAC": {"learning_starts": 40, "batch_size": 16},
    }[kind]
    with control(how) as capture:
        model = getattr(baselines, kind)(
            "MlpPolicy",
            environment,
            learning_rate=rate,
            seed=seed,
            device="cpu",
            policy_kwargs=policy,
            **options,
        )
        model.learn(100 if kind == "SAC" else 192)
    model.env.close()
    noted = {"updates": model._n_updates, "steps": model.num_timesteps}
    return Result(weights(model.policy), 0.0, capture, noted)


KINDS = {"PPO": ["Adam"], "A2C": ["RMSprop"], "DQN": ["Adam"], "SAC": ["Adam"] * 3}


@pytest.mark.parametrize("kind", KINDS)
def test_pinned_training_is_the_fixed_one(kind):
    assert_unchanged(train, kind=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_each_optimizer_is_controlled_or_left_alone_with_a_reason(kind):
    result = train(0.003, 0, "on", kind=kind)
    capture = result.capture
    assert len(capture.controllers) + len(capture.left_alone) == len(KINDS[kind])
    assert {*capture.names, *(one.name for one in capture.left_alone)} == set(KINDS[kind])
    assert all(one.reason and "\n" not in one.reason for one in capture.left_alone)
    assert torch.isfinite(result.weights).all()
