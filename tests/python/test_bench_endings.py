"""How the bench ends when the disk is full, on Ctrl-C, and when a lane is killed."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def tiny_vit(tmp_path_factory, run):
    """A small ViT classifier with random weights."""
    folder = tmp_path_factory.mktemp("models") / "vit"
    run("new-model", "vit-base-patch16-224", folder, "--tiny")
    return folder


@pytest.fixture
def bench(ostinato, tiny_vit, tmp_path):
    """Starts a bench in a process group of its own that writes to `out` and might to `tmp`."""
    (tmp_path / "tmp").mkdir()
    started = []

    def start(*arguments, out=tmp_path / "out", prefix=(), stdout=subprocess.PIPE, **options):
        command = [*prefix, ostinato, "bench", tiny_vit, "--output-dir", out, *arguments]
        process = subprocess.Popen(
            list(map(str, command)),
            env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


QUICK = ("--iterations", "2")
LONG = ("--iterations", "100000000")
IN_SHORT_TURNS = ("--iterations", "10000")  # a lane that is not at work is missed at its next turn


def members(group):
    """The processes of a group that have not ended, oldest first."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def wait_until(what, seconds=20):
    """Fails where it does not come true in time."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


def lanes_at_work(process):
    """Waits for the lanes and some of their calls; the lanes' process ids."""
    wait_until(lambda: len(members(process.pid)) == 4)
    time.sleep(0.5)
    assert process.poll() is None, process.communicate()
    return [pid for pid in members(process.pid) if pid != process.pid]


def expect_nothing_left(process, tmp_path):
    """No process, no scratch file, and no report, whole or half."""
    wait_until(lambda: not members(process.pid))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("to_all", [True, False])
def test_interrupt(bench, tmp_path, ending, to_all):
    """From a terminal, which tells the whole group, or to the command alone."""
    process = bench(*LONG)
    lanes_at_work(process)
    (os.killpg if to_all else os.kill)(process.pid, ending)
    out, _ = process.communicate(timeout=20)
    assert process.returncode in ((130,) if ending == signal.SIGINT else (130, 143))
    assert out == ""
    expect_nothing_left(process, tmp_path)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_lane_that_is_killed(bench, tmp_path, ending):
    """Whichever of them: the error names it and what ended it, and the others end too."""
    for index in range(3):
        process = bench(*IN_SHORT_TURNS)
        os.kill(lanes_at_work(process)[index], ending)
        out, error = process.communicate(timeout=60)
        assert process.returncode == 2
        assert out == ""
        lane = ("golden", "eager", "graph")[index]
        if ending == signal.SIGSEGV:
            assert f"the process of the lane {lane} ended by signal 11" in error
            assert "Report this" in error
        else:
            assert f"the process of the lane {lane} was ended from outside" in error
            assert f"by signal {int(ending)}" in error and "run the bench again" in error
        expect_nothing_left(process, tmp_path)


def test_lanes_end_with_a_killed_bench(bench, tmp_path):
    """Even where it cannot tell them."""
    process = bench(*LONG)
    lanes_at_work(process)
    process.kill()
    process.communicate(timeout=20)
    expect_nothing_left(process, tmp_path)


def expect_full(process, tmp_path, text):
    """An error that names the file, the report on stdout all the same, and none on the disk."""
    out, error = process.communicate(timeout=60)
    assert process.returncode == 2, error
    assert text in error
    assert "| lane |" in out
    assert not (tmp_path / "out/report.md").exists()
    return error


def test_full_disk(bench, tmp_path):
    """/dev/full is one; what was measured is printed, and no other half is left."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/report.json").symlink_to("/dev/full")
    error = expect_full(bench(*QUICK), tmp_path, "/dev/full: No space left on device")
    assert "Free space" in error
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.json"]


def test_full_file_system(bench, tmp_path):
    """A file system of 16 KiB, which the report's samples exceed; the old report stays."""
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path / "tmp")]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not permitted here")
    out = tmp_path / "out"
    out.mkdir()
    script = (
        f'mount -t tmpfs -o size=16k none {out} && printf old > {out}/report.json && "$@"; '
        f"code=$?; ls -A {out} >&2; cat {out}/report.json >&2; exit $code"
    )
    prefix = ("unshare", "-rm", "sh", "-c", script, "sh")
    process = bench("--iterations", "2000", "--lanes", "eager,graph", prefix=prefix)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 2, error
    assert "No space left on device" in error and "Free space" in error
    assert "| lane |" in out
    assert error.endswith("report.json\nold")


def test_full_stdout(bench, tmp_path):
    """A report that cannot be printed is an error too; the files are written before."""
    with open("/dev/full", "w") as full:
        process = bench(*QUICK, stdout=full)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "No space left on device" in error
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "report.json",
        "report.md",
    ]


def test_bad_folder_is_found_before_measuring(bench, tmp_path):
    """A report's name that is a folder, and a folder that is a file."""
    (tmp_path / "out/report.md").mkdir(parents=True)
    process = bench(*LONG)
    _, error = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "report.md" in error and "Is a directory" in error

    process = bench(*LONG, out="/dev/null/reports")
    _, error = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "/dev/null/reports" in error
