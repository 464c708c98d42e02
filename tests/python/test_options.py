"""docs/options.md says what the command has, no more and no less."""

import re

from conftest import ROOT

PAGE = (ROOT / "docs/options.md").read_text()


def rows(section):
    """The cells of a section's table, below its header."""
    body = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)[1]
    lines = [line for line in body.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def verbs(run):
    """The command's verbs."""
    listed = run("--help").stdout.partition("Subcommands:\n")[2].partition("\n\n")[0]
    return re.findall(r"^  (\S+)", listed, re.M)


def test_flags(run):
    """Every flag of every verb is in the table with just the verbs that have it."""
    there = {}
    for verb in verbs(run):
        for flag in re.findall(r"^  (?:-\w,)?(--[\w-]+)", run(verb, "--help").stdout, re.M):
            there.setdefault(flag, []).append(verb)
    del there["--help"]
    documented = {flag.strip("`"): set(names.split(", ")) for flag, names, _ in rows("Flags")}
    assert documented == {flag: set(names) for flag, names in there.items()}


def test_engine_options(run):
    """Every name that `--set` takes is in the table."""
    refused = run("run", "nothing", "--set", "nothing=1", check=False)
    names = re.search(r"a name of (.*)\.$", refused.stderr.strip())[1].split(", ")
    assert [row[0].strip("`") for row in rows("Engine options")] == names


def test_modes(run):
    """Every mode is in the table."""
    refused = run("run", "nothing", "--mode", "nothing", check=False)
    names = re.search(r"Use (.*)\.$", refused.stderr.strip())[1]
    assert re.findall(r"\w+", names.replace(" or ", " ")) == [
        row[0].strip("`") for row in rows("Modes")
    ]
