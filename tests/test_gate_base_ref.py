"""A pull request against its base branch, in real repositories: nobody raises their own limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from snnenergy import Counts
from tests.conftest import ROOT, Answer, Cli
from tests.gate_nets import CHIP, commit, git, net

BUDGETS = f"""\
baseline = "base"

[models.net]
source = "net.json"

[[budgets]]
match = {{ chip = "{CHIP}" }}
metric = "energy"
max = "120 pJ"
max_increase = "2 %"

[[budgets]]
metric = "acs"
max = 1200
"""


class Repository:
    """A project whose model is stored Counts, committed on `main`; edits are the pull request."""

    def __init__(self, folder: Path, cli: Cli) -> None:
        self.folder, self.cli = folder, cli
        git(folder, "init", "-q", "-b", "main")
        self.model(net(1000))
        self.write(BUDGETS)
        (folder / "base").mkdir()
        net(1000).save(folder / "base" / "net.json")
        commit(folder)
        git(folder, "switch", "-q", "-c", "pull-request")

    def model(self, counts: Counts) -> None:
        counts.save(self.folder / "net.json")

    def write(self, text: str, name: str = "snnenergy.toml") -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def check(self, *more: str, ref: str = "main") -> Answer:
        return self.cli("check", "--base-ref", ref, *more)


@pytest.fixture
def repository(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    return Repository(tmp_path, cli)


def test_an_unchanged_branch_passes(repository: Repository) -> None:
    answer = repository.check()
    assert answer.code == 0, answer.out + answer.err
    assert "loosened" not in answer.out


def test_links_that_lead_to_a_checkout_are_followed(
    repository: Repository, tmp_path_factory: pytest.TempPathFactory
) -> None:
    link = tmp_path_factory.mktemp("elsewhere") / "project"
    link.symlink_to(repository.folder)
    answer = repository.check("--config", str(link / "snnenergy.toml"))
    assert answer.code == 0, answer.out + answer.err


def test_git_that_does_not_answer_is_told(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snnenergy.gate.git.PATIENCE_S", 1e-9)
    answer = repository.check()
    assert (answer.code, answer.out) == (2, "")
    assert "git rev-parse: no answer in 1e-09 s" in answer.err


def test_a_raised_limit_does_not_help_and_is_told_on_its_line(repository: Repository) -> None:
    repository.model(net(1200))
    repository.write(BUDGETS.replace("120 pJ", "999 pJ").replace('"2 %"', '"50 %"').replace("1200", "9999"))
    assert repository.cli("check").code == 0  # by its own budgets
    answer = repository.check("--format", "github")
    assert answer.code == 1
    errors = [line for line in answer.out.splitlines() if line.startswith("::error")]
    assert [line.partition("title")[0] for line in errors] == [
        "::error file=snnenergy.toml,line=6,",
        "::error file=snnenergy.toml,line=12,",
    ]
    assert "loosened" in answer.out
    assert "max 120 pJ -> 999 pJ, max_increase changed" in answer.out
    assert "max 1.2 k -> 10 k" in answer.out


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('max_increase = "2 %"\n', "", "max_increase removed"),
        ('metric = "acs"\n', 'metric = "acs"\nlevel = "warn"\n', "level error -> warn"),
        ('metric = "energy"\n', 'metric = "energy"\nbound = "low"\n', "bound nominal -> low"),
        ('[[budgets]]\nmetric = "acs"\nmax = 1200\n', "", "the budget was removed"),
        (
            'match = { chip = "horowitz_int32" }',
            'match = { chip = "tianjic" }\nlevel = "warn"',
            "the budget was removed",
        ),
    ],
)
def test_every_way_to_loosen_is_told(repository: Repository, old: str, new: str, words: str) -> None:
    assert old in BUDGETS
    repository.write(BUDGETS.replace(old, new))
    answer = repository.check()
    assert answer.code == 0, answer.err
    assert words in answer.out


def test_a_tightened_budget_holds_at_once(repository: Repository) -> None:
    repository.write(BUDGETS.replace("1200", "1050"))
    answer = repository.check()
    assert answer.code == 1
    assert "above max 1.05 k" in answer.out
    assert "loosened" not in answer.out


def test_a_rewritten_baseline_does_not_help_and_is_told(repository: Repository) -> None:
    repository.model(net(1080))
    net(1080).save(repository.folder / "base" / "net.json")
    assert repository.cli("check").code == 0
    answer = repository.check()
    assert answer.code == 1
    assert "baseline rewritten: net: acs 1.1 k -> 1.18 k" in answer.out
    (repository.folder / "base" / "net.json").unlink()
    assert "its baseline was removed" in repository.check().out


def test_a_renamed_model_does_not_escape(repository: Repository) -> None:
    repository.write(BUDGETS.replace("[models.net]", "[models.other]"))
    answer = repository.check()
    assert answer.code == 1
    assert "model net: removed or renamed" in answer.out
    assert "the model is gone" in answer.out


def test_a_chip_that_is_left_out_still_counts(repository: Repository) -> None:
    git(repository.folder, "switch", "-q", "main")
    starred = BUDGETS.replace('baseline = "base"', 'baseline = "base"\nhardware = ["horowitz_int32"]')
    starred = starred.replace(f'match = {{ chip = "{CHIP}" }}\n', "")
    repository.write(starred)
    commit(repository.folder)
    git(repository.folder, "switch", "-q", "pull-request")
    git(repository.folder, "merge", "-q", "main")
    repository.write(starred.replace("horowitz_int32", "lemaire2022").replace("120 pJ", "1 J"))
    repository.model(net(1200))
    answer = repository.check()
    assert answer.code == 1
    assert "energy of net on horowitz_int32: 130 pJ above max 120 pJ" in answer.out
    assert "hardware: without horowitz_int32" in answer.out


def test_a_model_known_only_by_its_baseline_does_not_escape(repository: Repository) -> None:
    git(repository.folder, "switch", "-q", "main")
    net(1000, name="second").save(repository.folder / "base" / "second.json")
    commit(repository.folder)
    git(repository.folder, "switch", "-q", "pull-request")
    answer = repository.check()
    assert answer.code == 1
    assert "model second: removed or renamed" in answer.out


def test_budgets_moved_to_the_other_file_do_not_escape(repository: Repository) -> None:
    repository.model(net(1300))
    (repository.folder / "snnenergy.toml").unlink()
    moved = '[tool.snnenergy]\n[tool.snnenergy.models.net]\nsource = "net.json"\n[[tool.snnenergy.budgets]]\nmetric = "acs"\nmax = 9999\n'
    repository.write(moved, "pyproject.toml")
    answer = repository.check()
    assert answer.code == 1
    assert "above max 120 pJ" in answer.out


@pytest.mark.parametrize(("link", "target"), [("base/net.json", "../lax/net.json"), ("base", "lax")])
def test_a_link_laid_by_the_pull_request_is_not_followed(repository: Repository, link: str, target: str) -> None:
    lax = repository.folder / "lax"
    lax.mkdir()
    repository.model(net(1100))
    net(1100).save(lax / "net.json")
    git(repository.folder, "switch", "-q", "main")
    commit(repository.folder, "some other file that holds more")
    git(repository.folder, "switch", "-q", "pull-request")
    git(repository.folder, "merge", "-q", "main")
    (repository.folder / link).rename(repository.folder / "away")
    (repository.folder / link).symlink_to(target)
    assert repository.check().code == 1


def test_changed_conditions_are_5(repository: Repository) -> None:
    from snnenergy.counts import Conditions

    repository.model(net(10, conditions=Conditions(inputs="cd")))
    answer = repository.check()
    assert answer.code == 5
    assert "inputs of the base" in answer.out


def test_another_input_is_told(repository: Repository) -> None:
    repository.write(BUDGETS.replace('source = "net.json"', 'source = "net.json"\nseed = 7'))
    assert "model net: seed 0 -> 7" in repository.check().out


def test_a_base_without_a_gate_says_that_it_is_new(repository: Repository) -> None:
    git(repository.folder, "switch", "-q", "main")
    git(repository.folder, "rm", "-q", "snnenergy.toml")
    commit(repository.folder)
    git(repository.folder, "switch", "-q", "pull-request")
    answer = repository.check()
    assert answer.code == 0
    assert "new gate: main has no snnenergy.toml" in answer.out


def test_a_new_model_is_held_by_the_budgets_and_its_own_baseline(repository: Repository) -> None:
    repository.write(BUDGETS.replace("[[budgets]]", '[models.new]\nsource = "new.json"\n\n[[budgets]]', 1))
    net(1300, name="new").save(repository.folder / "new.json")
    net(1300, name="new").save(repository.folder / "base" / "new.json")
    answer = repository.check()
    assert answer.code == 1
    assert "acs of new: 1.4 k above max 1.2 k" in answer.out


def test_a_cheaper_profile_of_the_projects_own_is_told_apart_from_the_model(repository: Repository) -> None:
    source = (ROOT / "hardware_profiles" / "horowitz_int32.yaml").read_text(encoding="utf-8")
    own = source.replace("name: horowitz_int32", "name: own").replace("aliases", "# aliases")
    assert own.count("0.1 pJ") >= 1
    git(repository.folder, "switch", "-q", "main")
    repository.write(own, "own.yaml")
    text = BUDGETS.replace(CHIP, "own.yaml")
    repository.write(text)
    commit(repository.folder)
    git(repository.folder, "switch", "-q", "pull-request")
    git(repository.folder, "merge", "-q", "main")
    repository.write(own.replace("0.1 pJ", "0.05 pJ"), "own.yaml")
    answer = repository.check()
    assert answer.code == 0, answer.out + answer.err
    assert "hardware profile own: other figures than on the base" in answer.out
    repository.model(net(1010, weights="w2"))
    answer = repository.check()
    assert "hardware profile own: 110 pJ -> 55 pJ" in answer.out
    assert "model on own: 55 pJ -> 55.5 pJ" in answer.out


def test_a_cheaper_profile_does_not_make_room_for_a_larger_model(repository: Repository) -> None:
    source = (ROOT / "hardware_profiles" / "horowitz_int32.yaml").read_text(encoding="utf-8")
    own = source.replace("name: horowitz_int32", "name: own").replace("aliases", "# aliases")
    limit = '[[budgets]]\nmatch = { chip = "own.yaml" }\nmetric = "energy"\nmax = "120 pJ"\n'
    git(repository.folder, "switch", "-q", "main")
    repository.write(own, "own.yaml")
    repository.write(BUDGETS.partition("[[budgets]]")[0] + limit)
    commit(repository.folder)
    git(repository.folder, "switch", "-q", "pull-request")
    git(repository.folder, "merge", "-q", "main")
    repository.write(own.replace("0.1 pJ", "0.05 pJ"), "own.yaml")
    assert repository.check().code == 0  # the profile alone may become cheaper
    repository.model(net(2000, weights="w2"))  # 2100 ACs: 105 pJ with this branch's profile, 210 pJ with the base's
    answer = repository.check()
    assert answer.code == 1, answer.out + answer.err
    assert "210 pJ above max 120 pJ (with the profile of the base, which this branch changes)" in answer.out


@pytest.mark.parametrize("ref", ["no-such-branch", "--upload-pack=x", "-h"])
def test_a_ref_that_is_none_is_2(repository: Repository, ref: str) -> None:
    answer = repository.cli("check", f"--base-ref={ref}")
    assert (answer.code, answer.out) == (2, "")
    assert "git rev-parse" in answer.err


def test_outside_a_repository_is_2(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "snnenergy.toml").write_text('[[budgets]]\nmetric = "acs"\nmax = 1\n')
    net().save(tmp_path / "net.json")
    assert cli("check", "net.json", "--base-ref", "main").code == 2


def test_diff_reads_a_file_of_a_commit(repository: Repository) -> None:
    repository.model(net(1500))
    answer = repository.cli("diff", "main:net.json", "net.json")
    assert answer.code == 0
    assert "+45.5 %" in answer.out
    assert repository.cli("diff", "main:absent.json", "net.json").code == 5
    assert repository.cli("diff", "nowhere:net.json", "net.json").code == 2
