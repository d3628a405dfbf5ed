"""The harness itself: turns, statistics, stages and deadlines, on workers and clocks that obey."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.peers.common import Clock
from benchmarks.records import Log, read, summary
from benchmarks.suites import (
    Deadline,
    Plan,
    cold,
    cpu,
    fewer,
    gpu,
    guide,
    lora,
    memory,
    mini,
    scale,
    step,
)
from benchmarks.workers import PeerError, take_turns, working


class Fake:
    """A worker that notes when it was asked and fails when told to."""

    def __init__(self, name: str, diary: list[str], fails_at: int = -1) -> None:
        self.name = name
        self.diary, self.fails_at, self.turns = diary, fails_at, 0

    def turn(self) -> float:
        self.diary.append(self.name)
        self.turns += 1
        if self.turns == self.fails_at:
            raise PeerError("broken")
        return float(self.turns)


def test_workers_take_turns() -> None:
    diary: list[str] = []
    workers = [Fake(name, diary) for name in "abc"]
    seconds, errors = take_turns(workers, 3, 1, Fake.turn)
    assert "".join(diary) == "abcabcabcabc"
    assert seconds == {name: [2.0, 3.0, 4.0] for name in "abc"}  # the first round warms up
    assert not errors


def test_one_that_fails_has_no_more_turns() -> None:
    diary: list[str] = []
    workers = [Fake("a", diary), Fake("b", diary, fails_at=2)]
    seconds, errors = take_turns(workers, 3, 0, Fake.turn)
    assert "".join(diary) == "ababaa"[: len(diary)]
    assert list(seconds) == ["a"]
    assert errors == {"b": "broken"}


def test_no_round_begins_that_does_not_fit() -> None:
    diary: list[str] = []
    seconds, _ = take_turns([Fake("a", diary)], 9, 1, Fake.turn, lambda _: len(diary) < 3)
    assert seconds == {"a": [2.0, 3.0]}


@pytest.mark.parametrize(
    ("values", "median", "spread"),
    [([3.0], 3.0, 0.0), ([1.0, 5.0, 2.0], 2.0, 2.0), ([5.0, 1.0, 2.0, 3.0, 4.0], 3.0, 1.0)],
)
def test_median_and_spread(values: list[float], median: float, spread: float) -> None:
    found = summary(values)
    assert (found["median"], found["spread"]) == (median, spread)
    assert found["values"] == values


def test_a_record_says_where_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "new" / "records.jsonl"
    log = Log(file, "step")
    log("a", "step", "s", [1.0, 2.0], {"batch": 1}, flops=3)
    log.failure("b", "step", {"batch": 1}, "Traceback ...\nValueError: too large\n")
    with file.open("a") as stream:
        stream.write('{"suite": "cut sho')
    first, second = read([file])
    assert first["median"] == 1.5
    assert first["flops"] == 3
    for key in ("cpu", "cores", "accelerator"):
        assert key in first["machine"]
    assert first["versions"]["keras"]
    assert first["date"].endswith("Z")
    assert "commit" in first
    assert second["error"] == "ValueError: too large"


def test_only_a_log_that_resumes_knows_what_was_before(tmp_path: Path) -> None:
    file, case = tmp_path / "records.jsonl", {"batch": 1}
    Log(file, "step")("a", "step", "s", [1.0, 2.0], case)
    Log(file, "cold")("a", "step", "s", [9.0], case)
    assert Log(file, "step").values("a", "step", case) == []
    log = Log(file, "step", resume=True)
    assert log.values("a", "step", case) == [1.0, 2.0]
    assert log.values("a", "step", {"batch": 2}) == []
    log("a", "step", "s", [1.0, 2.0, 3.0], case)
    assert log.values("a", "step", case) == [1.0, 2.0, 3.0]
    text = file.read_text().replace(json.dumps(log.common["commit"]), '"another"')
    file.write_text(text)
    assert Log(file, "step", resume=True).values("a", "step", case) == []


def test_a_deadline_that_is_not_hard_stops_nothing() -> None:
    assert Deadline().left() is None
    assert Deadline().has(1e9)
    assert Deadline(1, lambda: 0.0).timeout() is None
    assert Deadline(1, lambda: 0.0, hard=True).timeout() == 60.0


class Slices:
    """The measurements of the cpu suite, replaced by a clock that goes on and two records a time.

    A row's function writes two rounds of every thing, as if each took half of the row's time.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now, self.rows = 0.0, []
        patch.setattr(cpu, "Deadline", lambda minutes: Deadline(minutes, lambda: self.now))
        patch.setattr(cpu, "DO", dict.fromkeys(cpu.DO, self.do))
        pair = (cpu.OURS, cpu.THEIRS)
        rows = cpu.Row("step", pair, 300), cpu.Row("mini", pair, 300), cpu.Row("memory", pair, 90)
        patch.setattr(cpu, "ROWS", rows)
        patch.setattr(cpu.Row, "installed", lambda row: list(row.peers))

    def do(self, row: cpu.Row, plan: Plan, log: Log, deadline: Deadline) -> None:
        self.rows.append(row)
        self.now += row.seconds
        for peer, metric, case in cpu.things(row, plan):
            log(peer, metric, "s", [*log.values(peer, metric, case), 1.0, 1.0], case)


def test_slices_go_on_where_the_last_one_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFUMATO_BENCHMARK_CACHE", str(tmp_path / "cache"))
    slices, file = Slices(monkeypatch), tmp_path / "records.jsonl"
    plan = Plan(tiny=True, repeats=4, minutes=7.0)

    def slice_of_time() -> list[str]:
        slices.now, slices.rows = 0.0, []
        cpu.run(plan, Log(file, "cpu", tiny=True))
        return [row.kind for row in slices.rows]

    assert slice_of_time() == ["step", "memory"]  # two rounds of four; "mini" does not fit
    assert slice_of_time() == ["step"]
    assert slice_of_time() == ["mini"]
    assert slice_of_time() == ["mini"]
    assert slice_of_time() == []


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the measurements that a suite asks for, which are not made.

    Their arguments are those that the real functions take, else it is an error.
    """
    monkeypatch.setenv("SFUMATO_BENCHMARK_CACHE", str(tmp_path / "cache"))
    diary: list[str] = []

    def note(name: str, function: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> None:
            inspect.signature(function).bind(*args, **kwargs)
            diary.append(name)

        return noted

    for module in (step, guide, cold, memory, scale, mini):
        name = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(module, "measure", note(name, module.measure))
    monkeypatch.setattr(step, "by_kind", note("kinds", step.by_kind))
    monkeypatch.setattr(step, "matmul_rates", lambda *_: {"torch": 1e9})
    return diary


def test_the_parts_of_the_gpu_suite(asked: list[str], tmp_path: Path) -> None:
    parts = ",".join(part for part in gpu.PARTS if part != "ceilings")
    plan = Plan(tiny=True, peers="sfumato jax", parts=parts, minutes=5)
    gpu.run(plan, Log(tmp_path / "gpu.jsonl", "gpu", tiny=True))
    steps = len(gpu.CASES) + 2 * len(gpu.VARIANTS) + len(gpu.FLAGS)
    pictures = len(gpu.PICTURES)
    assert asked == [
        *["step"] * steps,
        *["guide"] * pictures,
        "cold",
        "memory",
        "kinds",
        *["guide"] * 2,
    ]


def test_a_gpu_suite_without_time_says_so(asked: list[str], tmp_path: Path) -> None:
    file = tmp_path / "gpu.jsonl"
    gpu.run(Plan(tiny=True, minutes=0.1), Log(file, "gpu", tiny=True))
    assert not asked
    assert [(r["metric"], r["error"]) for r in read([file])] == [
        (part, "no time was left") for part in gpu.PARTS
    ]


def test_every_row_of_the_cpu_suite(asked: list[str], tmp_path: Path) -> None:
    cpu.run(Plan(tiny=True), Log(tmp_path / "cpu.jsonl", "cpu", tiny=True))
    assert asked == [row.kind for row in cpu.ROWS if row.installed()]


def test_parts_of_the_cpu_suite(asked: list[str], tmp_path: Path) -> None:
    cpu.run(Plan(tiny=True, parts="cold,mini"), Log(tmp_path / "cpu.jsonl", "cpu", tiny=True))
    assert set(asked) == {"cold", "mini"}


def test_the_clock_synchronises_at_both_ends() -> None:
    diary: list[str] = []
    clock = Clock(lambda: diary.append("sync"))
    assert clock.wrap("part", lambda x: diary.append("run") or x)(7) == 7
    assert diary == ["sync", "run", "sync"]
    assert len(clock.calls["part"]) == 1


def test_stages_add_up_to_the_whole() -> None:
    report = {
        "first": 60.0,
        "second": 20.0,
        "calls": {"load": [5.0, 6.0], "step": [30.0, 4.0, 4.0], "decode": [7.0], "text": [1.0]},
        "later": {"load": None, "step": 4.0, "decode": 5.0, "text": 0.5},
    }
    found = cold.stages(10.0, {"import": 6.0, "load": 3.0}, report)
    assert found["start"] == 1.0
    assert found["load"] == 3.0 + 11.0
    assert found["compile"] == 26.0 + 2.0 + 0.5
    assert found["steps"] == 12.0
    assert found["decode"] == 5.0
    assert found["total"] == 70.0
    assert sum(found[stage] for stage in cold.STAGES) == pytest.approx(70.0)


def test_exponent_of_a_power() -> None:
    assert scale.exponent([(x, 3 * x**1.7) for x in (1, 2, 4, 7)]) == pytest.approx(1.7)


def test_a_picture_is_the_sum_of_its_evaluations() -> None:
    guided = dict.fromkeys(fewer.WAYS, 0.0) | {"guided": 8.0, "unguided": 4.0}
    found = fewer.seconds_of_pictures(guided | {"shallow": 1.0, "shallow unguided": 0.5}, 10)
    assert found["full"] == 80
    assert found["guidance_interval 0.2:0.8"] == 6 * 8 + 4 * 4
    assert found["feature_reuse 5"] == 2 * 8 + 8 * 1
    both = 3 * 4 + 2 * 0.5 + 3 * 8 + 2 * 1  # guidance begins at the sixth: deep features anew
    assert found["feature_reuse 2, guidance_interval 0.5:1"] == both


def test_deadline() -> None:
    now = [0.0]
    deadline = Deadline(1, lambda: now[0])
    assert not deadline.is_over()
    now[0] = 50.0
    assert deadline.left() == 10.0
    assert deadline.is_over()


def test_a_worker_answers_and_fails_loudly() -> None:
    """In a process of its own: a result, an error of the peer, and its end."""
    with working("ceiling jax") as worker:
        assert worker.ask("matmul", size=64, dtype="float32") > 0
        with pytest.raises(PeerError, match="no attribute 'unknown'"):
            worker.ask("unknown")
        worker.process.kill()
        with pytest.raises(PeerError, match="ended"):
            worker.ask("matmul", size=64, dtype="float32")


def test_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_BENCHMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SFUMATO_COMPILE_CACHE", "off")
    file = tmp_path / "records.jsonl"
    arguments = ["memory", "--tiny", "--peers", "sfumato jax", "--steps", "1"]
    main([*arguments, "--json", str(file)])
    records: list[dict[str, Any]] = [json.loads(line) for line in file.read_text().splitlines()]
    host = next(r for r in records if r["metric"] == "host memory")
    assert host["tiny"]
    assert host["case"]["model"] == "tiny"
    assert 0.05 < host["median"] < 20


def test_loras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_BENCHMARK_CACHE", str(tmp_path / "cache"))
    log = Log(tmp_path / "records.jsonl", "lora", tiny=True)
    lora.run(Plan(tiny=True, peers="sfumato jax", repeats=1), log)
    assert len(log.records) == 9
    seconds = {record["metric"]: record["median"] for record in log.records}
    assert seconds["first picture"] > 2 * seconds["first picture with another"]  # compiled once


def test_evaluations_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_BENCHMARK_CACHE", str(tmp_path / "cache"))
    log = Log(tmp_path / "records.jsonl", "fewer", tiny=True)
    fewer.run(Plan(tiny=True, peers="sfumato jax", repeats=1), log)
    assert [r["metric"] for r in log.records] == [f"evaluation {way}" for way in fewer.WAYS]
    assert all(r["median"] > 0 for r in log.records)
