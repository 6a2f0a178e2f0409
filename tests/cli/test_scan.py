"""`galatune scan`: what it prints, where, and with which status."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import optuna
import pytest
from click.testing import CliRunner, Result
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from galatune.cli import main
from galatune.study.scan.plan import StoragePlans
from galatune.study.scan.scan import plan_study, scan_storage

ARCANUM = "Zeos-ctrl__ARCANUM__optuna_study.db"
EEG = "simeonensing__eeg-gat__tracking__optuna.db"
LYHUE = "lyhue1991__eat_pytorch_in_20_days__optuna.db"
RATE = FloatDistribution(1e-5, 1e-1, log=True)
JOURNAL = "MPI-Dortmund__tomotwin-cryoet__optuna_study.db.journal.log"


def scan(*arguments: str | Path, columns: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(main, ["scan", *map(str, arguments)])


def flowing(text: str) -> str:
    """Without the line breaks of a narrow terminal."""
    return " ".join(text.split())


def make(path: Path, name: str = "s", **space: FloatDistribution | IntDistribution) -> Path:
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name=name)
    for _ in range(2):
        params = {parameter: distribution.low for parameter, distribution in space.items()}
        study.add_trial(create_trial(params=params, distributions=dict(space), value=1.0))
    return path


def refused(*arguments: str | Path) -> str:
    result = scan(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("galatune: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_one_study_says_what_goes_and_what_stays(studies: Path) -> None:
    result = scan(studies / ARCANUM, "--study", "amp_tune")
    assert result.exit_code == 0
    assert "1 dimension can be dropped: learning_rate" in result.stdout
    assert (
        "52 trials tried only 27 settings of the other parameters; 24 differed in the learning rate alone, "
        "1 repeated an earlier one."
    ) in flowing(result.stdout)
    assert "galatune controls torch optimizers only; a study does not say which it used." in flowing(
        result.stdout
    )
    assert "Kept: amp_hidden_size, banks, dropout, layers" in result.stdout
    assert "Trial 51 is marked running since 2025-07-18 14:03" in flowing(result.stdout)
    assert "not measured" in result.stdout


def test_the_command_prints_what_the_plan_says(studies: Path) -> None:
    found = scan_storage(str(studies / ARCANUM))
    assert scan(studies / ARCANUM).stdout == found.text(width=80)
    assert scan(studies / ARCANUM, "--study", "amp_tune").stdout == found.plans[0].text(width=80)
    assert json.loads(scan(studies / ARCANUM, "--json").stdout) == found.to_json()


def test_json_is_one_object(studies: Path) -> None:
    plan = json.loads(scan(studies / ARCANUM, "--study", "amp_tune", "--json").stdout)
    assert (plan["study"], plan["trials"]["total"], plan["unique_configurations"]) == ("amp_tune", 52, 27)
    both = json.loads(scan(studies / ARCANUM, "--json").stdout)
    assert [plan["study"] for plan in both["studies"]] == ["amp_tune", "phase_tune"]
    assert both["studies"][0] == plan


def test_json_of_a_storage_with_one_study_is_its_plan(studies: Path, tmp_path: Path) -> None:
    copy = shutil.copy(studies / JOURNAL, tmp_path / "optuna_study.db")
    assert json.loads(scan(copy, "--json").stdout)["study"] == "3D_UNet_Optimization"


def test_no_learning_rate_says_so_with_status_0(studies: Path) -> None:
    result = scan(studies / EEG)
    assert result.exit_code == 0
    assert "No learning rate found in any of the 5 studies" in result.stdout
    assert "--lr NAME" in result.stderr
    one = scan(studies / EEG, "--study", "eeg_graph_win4_fold1_20251021-070241")
    assert one.exit_code == 0
    assert "No learning rate found" in one.stdout


def test_upgraded_copy_is_mentioned_on_stderr_only(studies: Path) -> None:
    result = scan(studies / LYHUE, "--study", "mnist-tf", "--json")
    assert "Optuna 2.10.0, read from an upgraded copy" in result.stderr
    assert json.loads(result.stdout)["study"] == "mnist-tf"


def test_no_source_is_changed(studies: Path) -> None:
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in studies.iterdir()}
    for path in before:
        assert scan(path).exit_code == 0
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in studies.iterdir()} == before


def test_user_decides(tmp_path: Path) -> None:
    rate = FloatDistribution(1e-5, 1e-1, log=True)
    path = make(tmp_path / "s.db", lr=rate, speed=rate, warmup=FloatDistribution(0, 1))
    plan = json.loads(
        scan(path, "--lr", "speed", "--keep", "lr", "--drop-schedule", "--json").stdout,
    )
    assert {d["name"]: d["dropped"] for d in plan["learning_rate"]} == {
        "lr": False,
        "speed": True,
        "warmup": True,
    }
    assert "--lr nope: no such parameter; the study has: lr, speed, warmup" in refused(path, "--lr", "nope")


def test_several_dropped_rates_show_the_ratio_they_keep(tmp_path: Path) -> None:
    rates = {name: FloatDistribution(low, 0.1) for name, low in (("lr_G", 4.1e-3), ("lr_D", 1e-3))}
    assert (
        "If lr_G and lr_D belong to one optimizer, their ratio stays 4.1 : 1; two optimizers get a rate each."
    ) in flowing(scan(make(tmp_path / "s.db", **rates)).stdout)
    more = {**rates, "lr_E": IntDistribution(1, 5)}
    assert (
        "If lr_G, lr_D and lr_E belong to one optimizer, their ratio stays that of the values they are fixed "
        "at; several optimizers get a rate each."
    ) in flowing(scan(make(tmp_path / "t.db", generator=IntDistribution(1, 2), **more)).stdout)


def test_a_study_of_rates_alone_leaves_nothing_to_search(tmp_path: Path) -> None:
    result = scan(make(tmp_path / "s.db", lr=FloatDistribution(1e-5, 1e-1, log=True)))
    assert "Nothing else was searched: every trial would be the same configuration" in flowing(result.stdout)
    assert "Kept: nothing" in result.stdout


def test_trials_that_were_added_and_not_run_took_an_unknown_time(tmp_path: Path) -> None:
    path = make(tmp_path / "s.db", lr=FloatDistribution(1e-5, 1e-1, log=True))
    assert "2 trials (2 complete), time unknown, minimize" in flowing(scan(path).stdout)
    assert json.loads(scan(path, "--json").stdout)["hours"] is None


def test_what_is_left_alone_is_told_once_per_reason(tmp_path: Path) -> None:
    path = make(tmp_path / "s.db", eta=FloatDistribution(0.01, 0.3), max_depth=FloatDistribution(1, 9))
    assert "Left alone: eta: the learning rate of boosted trees, beside max_depth" in flowing(
        scan(path).stdout
    )
    gains = {f"{gain}_{joint}": RATE for joint in range(35) for gain in ("pid_kp", "pid_ki", "pid_kd")}
    output = scan(make(tmp_path / "t.db", **gains)).stdout
    assert flowing(output).count("the gain of a PID controller") == 1
    assert "and 100 more: the gain" in flowing(output)
    nothing = scan(make(tmp_path / "u.db", width=FloatDistribution(1, 9))).stdout
    assert "Left alone" not in nothing
    assert "torch" not in nothing


def test_schedules_say_how_they_are_dropped(tmp_path: Path) -> None:
    path = make(tmp_path / "s.db", lr=RATE, warmup_steps=FloatDistribution(0, 9))
    output = scan(path, columns=120).stdout
    assert "kept (drop with --drop-schedule)" in flowing(output)
    assert "kept" not in flowing(scan(path, "--drop-schedule").stdout)


HOSTILE = ["my lr's", "a\nb", "-x", 'q"$(touch owned)', "[red]x[/red]"]


@pytest.mark.parametrize("study", HOSTILE)
def test_what_may_be_a_rate_comes_with_both_commands_and_they_work(tmp_path: Path, study: str) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    inner = f"inner_lr {study}"
    make(folder / "s.db", name="another", width=RATE)
    path = make(folder / "s.db", name=study, lr=RATE, speed=RATE, **{inner: RATE})
    result = scan(path, "--study", study, "--lr", "speed")
    commands = [line.partition(": ")[2] for line in result.stdout.splitlines() if "galatune scan" in line]
    commands = [line[line.index("galatune scan") :] for line in commands]
    assert len(commands) == 2
    plans = [json.loads(scan(*pasted(command, tmp_path), "--json").stdout) for command in commands]
    assert [{d["name"]: d["role"] for d in plan["learning_rate"] if d["dropped"]} for plan in plans] == [
        {"lr": "rate", "speed": "rate", inner: "rate"},
        {"lr": "rate", "speed": "rate"},
    ]
    assert inner in plans[1]["kept"]
    assert not (tmp_path / "owned").exists()


def pasted(command: str, folder: Path) -> list[str]:
    """The arguments of `galatune scan` as bash reads them."""
    script = f"galatune() {{ printf '%s\\0' \"${{@:2}}\"; }}; {command}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout.split("\0")[:-1]


def test_a_name_of_another_framework_is_a_caution(tmp_path: Path) -> None:
    torch_only = "galatune controls torch optimizers only"
    for number, (name, space, caution) in enumerate(
        [
            ("mnist", {"lr": RATE, "tf_layers": RATE}, None),  # tf also stands for transformer
            ("mnist-tf", {"lr": RATE}, "mnist-tf says tf"),
            ("s", {"lr": RATE, "flax_width": RATE}, "flax_width says flax"),
            ("s", {"keras_lr": RATE}, "keras_lr says keras"),
        ]
    ):
        output = flowing(scan(make(tmp_path / f"{number}.db", name=name, **space)).stdout)
        assert torch_only in output
        assert ("Caution" in output) == (caution is not None)
        assert (caution or "") in output


def test_an_overview_has_one_row_per_study_and_no_details() -> None:
    storage = InMemoryStorage()
    names = [f"{HOSTILE[number % 5]} {number} {'long ' * (20 * (number % 7 == 0))}" for number in range(500)]
    for name in names:
        study = optuna.create_study(storage=storage, study_name=name)
        study.add_trial(create_trial(params={"lr": 1e-3}, distributions={"lr": RATE}, value=1.0))
    studies = [study._study_id for study in optuna.get_all_study_summaries(storage)]
    plans = StoragePlans(
        tuple(plan_study(optuna.load_study(study_name=n, storage=storage), "s") for n in names)
    )
    assert len(studies) == 500
    lines = plans.text(width=100).splitlines()
    assert "500 of 500 studies search a learning rate." in lines
    rows = [line for line in lines if line.startswith(" ") and " lr" in line]
    assert len(rows) == 500
    assert not any("evidence" in line or "Kept" in line for line in lines)
    assert lines[-1].startswith("Details of one: galatune scan s --study ")
    assert len(lines) < 520


def test_study_without_trials(tmp_path: Path) -> None:
    optuna.create_study(storage=f"sqlite:///{tmp_path}/s.db", study_name="s")
    result = scan(tmp_path / "s.db")
    assert result.exit_code == 0
    assert "No trials yet" in result.stdout


@pytest.mark.parametrize("columns", [20, 80])
def test_long_and_untrusted_names_fit_any_terminal(tmp_path: Path, columns: int) -> None:
    evil = "[red]x[/red]\x1b[2J\n" + "long_" * 60
    rate = {f"{evil}_lr": FloatDistribution(1e-5, 1e-1, log=True), evil: FloatDistribution(0, 1)}
    result = scan(make(tmp_path / "s.db", name=evil, **rate), columns=columns)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "[red]x[/red]\\x1b[2J\\n" in "".join(result.stdout.split())
    table = [line for line in result.stdout.splitlines() if line.startswith(" ")]
    assert max(map(len, table)) <= columns


def test_many_running_trials_are_summed_up(tmp_path: Path) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/s.db", study_name="s")
    for _ in range(9):
        study.add_trial(create_trial(state=TrialState.RUNNING))
    output = scan(tmp_path / "s.db").stdout
    assert output.count("is marked running") == 4
    assert "And 5 more" in output


def test_bad_input_is_one_line_and_status_1(studies: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n")
    assert "No such file" in refused(tmp_path / "absent.db")
    assert "Neither" in refused(tmp_path / "table.csv")
    assert "amp_tune, phase_tune" in refused(studies / ARCANUM, "--study", "absent")
    unreachable = refused("postgresql+psycopg2://ada:s3cret@127.0.0.1:1/x")
    assert "s3cret" not in unreachable


def test_wrong_usage_is_status_2() -> None:
    assert scan().exit_code == 2


def test_help_has_an_example() -> None:
    text = scan("--help").stdout
    assert "galatune scan optuna.db --study mnist" in text
    for option in ("--study", "--lr", "--keep", "--drop-schedule", "--json"):
        assert option in text
