"""Tables and verdicts that follow from results."""

import math

import pandas as pd
import pytest

from vimae_paper import tables
from vimae_paper.cells import TABLES, jobs_of, work
from vimae_paper.claims import CLAIMS, Comparison, Interval, difference, interval, verdict
from vimae_paper.results import Results
from vimae_paper.settings import DATA_SETS, LABELED, VARIANTS, Run

# Intervals and verdicts


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([(1, 2), (3, 4)], "holds"),
        ([(1, 2), (-1, 4)], "holds in part"),
        ([(1, 2), (-3, -2)], "holds in part"),
        ([(-3, -2), (-1, 4)], "does not hold"),
        ([(-1, 4)], "not shown"),
        ([(-math.inf, math.inf)], "not shown"),
        ([], "not run"),
    ],
)
def test_verdicts_follow_from_intervals(intervals, expected):
    compared = [Comparison("x", Interval(sum(i) / 2, *i, 3)) for i in intervals]
    assert verdict(compared) == expected
    assert verdict([*compared, Comparison("y", None)]) == expected


def test_intervals_are_those_of_student():
    found = interval(pd.Series([1.0, 2.0, 3.0]))
    half = 4.302653 / math.sqrt(3)  # t(2) at 97.5 %
    assert found[:3] == pytest.approx((2, 2 - half, 2 + half))
    for without in ([1.0], [0.1 + 0.2, 0.3]):  # equal but for rounding: no spread known
        found = interval(pd.Series(without))
        assert (found.low, found.high) == (-math.inf, math.inf)
    assert str(found) == "0.3 (equal in 2 seeds, no interval)"


def test_differences_are_paired_over_the_seeds_that_both_have():
    first, second = pd.Series({0: 5.0, 1: 7.0}), pd.Series({1: 4.0, 2: 9.0})
    assert difference(first, second).to_dict() == {1: 3.0}


# Claims


def verdicts(results):
    """Return the verdicts by claim."""
    return tables.promises(results).frame.set_index("claim")["verdict"]


def test_without_results_only_the_entropy_claim_is_judged(tmp_path):
    frame = tables.promises(Results(tmp_path / "none.jsonl")).frame
    assert len(frame) == 25
    assert "less entropy" in frame["claim"].iloc[0]
    assert "0.581" in frame["measured"].iloc[0]  # 2 − ½ log 2πe
    assert frame["verdict"].iloc[0] == "does not hold"
    assert set(frame["verdict"].iloc[1:]) == {"not run"}


def test_claims_are_judged_by_what_was_measured(stored, cell_of):
    columns = DATA_SETS["mnist"].columns
    levels = {"vae": 70, "beta-h": 71, "beta-a": 72, "vimae-n": 80, "vimae-l": 75}
    cells = [
        cell_of("mnist", name, seed, dict.fromkeys(columns, level * (1 + 0.001 * seed)))
        for name, level in levels.items()
        for seed in range(3)
    ]
    found = verdicts(stored(*cells))
    assert found["On corrupted data VIMAE's features are better than theirs."] == "holds"
    assert found["Under large noise VIMAE-l is more robust than VIMAE-n."] == "does not hold"
    assert found["ELBO models have good features of clean data."] == "does not hold"
    assert found["In some cases noise improves the accuracy."] == "not run"


def test_good_features_may_be_better_than_those_they_are_compared_with(stored, cell_of):
    levels = {"vae": 95.0, "beta-h": 90.0, "beta-a": 90.0, "vimae-n": 85.0, "vimae-l": 85.0}
    cells = [
        cell_of("mnist", name, seed, {"clean": level + 0.1 * seed * (level > 94)})
        for name, level in levels.items()
        for seed in range(3)
    ]
    assert verdicts(stored(*cells))["ELBO models have good features of clean data."] == "holds"


def test_information_is_compared_by_errors_whatever_the_variances(stored, cell_of):
    """E log p(x|z) at the best variance differs by n/2 · log of the ratio of squared errors."""

    def cell(model, seed, sse, variance):
        distortion = sse / (2 * variance) + 392 * math.log(2 * math.pi * variance)
        parts = {"information": {"distortion": distortion}, "likelihood": {"variance": variance}}
        return cell_of("mnist", model, seed, parts=parts)

    cells = [cell("vae", s, 20.0, 0.02 + 0.01 * s) for s in range(2)]
    cells += [cell("vimae-n", s, 10.0 + 0.02 * s, 10.0) for s in range(2)]
    claim = next(c for c in CLAIMS if "maximally informative" in c.says)
    mnist, omniglot = claim.compare(stored(*cells))
    assert mnist.measured.mean == pytest.approx(392 * (math.log(2) - math.log(1.002) / 2))
    assert mnist.supports
    assert omniglot.measured is None


def test_similar_likelihoods_do_not_depend_on_the_unit_of_the_pixels(stored, cell_of):
    claim = next(c for c in CLAIMS if "likelihoods are similar" in c.says)

    def found(shift):
        cells = [
            cell_of("mnist", model, seed, parts={"likelihood": {"importance": {"nats": nats}}})
            for model, level in {"vae": 300.0, "vimae-n": 280.0, "vimae-l": 200.0}.items()
            for seed in range(2)
            for nats in [level * (1 + 0.01 * seed) + shift]
        ]
        return [(c.supports, c.contradicts) for c in claim.compare(stored(*cells)) if c.measured]

    assert found(0) == [(True, False), (False, True)]
    assert found(784 * math.log(255)) == found(0)


BASELINES = {"raw": (94,) * 3, "pca": (91, 95, 91), "pca-ours": (80,) * 3, "pca-noise": (80,) * 3}


def cells_against(cell_of, ours, baselines):
    """Return cells of clean accuracies of our recipe and of the baselines."""
    levels = {"ours": ours, **baselines}
    return [
        cell_of("mnist", name, seed, {"clean": float(value)})
        for name, values in levels.items()
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("ours", "expected"), [((97, 98, 98), "beaten"), ((93, 97, 95), "open"), ((80, 81, 81), "not")]
)
def test_beaten_means_above_the_paper_and_every_baseline(ours, expected, stored, cell_of):
    cells = cells_against(cell_of, (*ours, 0.0), BASELINES)  # no baseline has the last seed
    row = tables.beaten(stored(*cells)).frame.loc["MNIST, clean, ours"].iloc[-1]
    assert row["paper's best"] == "93"
    assert row["ours"].startswith(f"{sum(ours) / 3:.1f} ")
    assert row["difference"].endswith("n = 3")
    assert row["best baseline"] == "94.3 ± 0.6"  # the better one of each seed
    assert row["verdict"].startswith(expected)


@pytest.mark.parametrize("absent", BASELINES)
def test_nothing_is_beaten_while_a_baseline_is_absent(absent, stored, cell_of):
    present = {name: values for name, values in BASELINES.items() if name != absent}
    frame = tables.beaten(stored(*cells_against(cell_of, (97, 98, 97), present))).frame
    assert frame.loc["MNIST, clean, ours"].iloc[-1]["verdict"] == "not run"


def test_a_recipe_between_the_baselines_and_the_paper_beats_neither(stored, cell_of):
    low = dict.fromkeys(BASELINES, (80.0, 80.1, 80.2))
    frame = tables.beaten(stored(*cells_against(cell_of, (91.0, 91.1, 91.2), low))).frame
    assert frame.loc["MNIST, clean, ours"].iloc[-1]["verdict"] == "not beaten"
    # The paper has no such column: there the baselines alone are the bar.
    assert frame.loc["MNIST, gaussian 0.3, ours"].iloc[-1]["paper's best"] == "–"


# Tables


def test_tables_show_mean_deviation_and_the_paper(stored, cell_of):
    results = stored(
        cell_of("mnist", "vae", 0, {"clean": 90.0}, sample={"clean": 80.0}),
        cell_of("mnist", "vae", 1, {"clean": 92.0}, sample={"clean": 84.0}),
        cell_of("mnist", "vimae-l", 0, {"clean": 95.0}, corrupted={"gaussian 0.4": 70}),
    )
    drawn, mean = tables.tables_of(results, "4")
    assert drawn.frame.loc["VAE", "clean"] == "82.0 ± 2.8 [80]"
    assert drawn.frame.loc["VIMAE-l", "clean"] == "95.0 [93]"  # a point's draw is its mean
    assert mean.frame.loc["VAE", "clean"] == "91.0 ± 1.4"
    assert mean.frame.loc["VIMAE-l"].iloc[-1] == "70.0"
    assert mean.frame.columns[-1].startswith("does not count")
    assert set(drawn.frame.loc["AE"]) == {"not run"}
    assert "Seeds: 2 of VAE; 1 of the others." in drawn.notes
    assert "| VAE | 82.0 ± 2.8 [80] | not run |" in tables.markdown(drawn)
    tex = tables.latex(drawn)
    assert r"β\_H-VAE & not run" in tex
    assert tex.count("{") == tex.count("}")


def test_a_model_without_a_prior_has_no_likelihood(stored, cell_of):
    (table,) = tables.tables_of(stored(cell_of("mnist", "ae", 0, {"clean": 1.0})), "1")
    assert set(table.frame.loc["AE"]) == {"–"}
    assert set(table.frame.loc["VAE"]) == {"not run"}


def test_importance_sampling_that_falls_short_is_named(stored, cell_of):
    def cell(model, gap):
        ais = {"nats": 300.0 + gap, "importance": 300.0, "monte carlo error": 0.2}
        importance = {"nats": 300.0, "standard error": 1.0}
        parts = {"likelihood": {"ais": ais, "importance": importance}}
        return cell_of("mnist", model, 0, parts=parts)

    (table,) = tables.tables_of(stored(cell("vae", 0.5), cell("vimae-l", 30.0)), "1")
    (note,) = (note for note in table.notes if "falls short" in note)
    assert note.endswith("here: MNIST, VIMAE-l, by 30 nats.")


def test_variants_stand_in_their_own_table_alone(stored, cell_of):
    def everything(results):
        others = [table for table in TABLES if table != "ablation"]
        found = [part for table in others for part in tables.tables_of(results, table)]
        found += [tables.promises(results), tables.beaten(results)]
        return [tables.markdown(table) for table in found]

    own = cell_of("mnist", "ours", 0, {"clean": 50.0})
    before = everything(stored(own))
    results = stored(*(cell_of("mnist", v, s, {"clean": 99.0}) for v in VARIANTS for s in (0, 1)))
    assert everything(results) == before
    (table,) = tables.tables_of(results, "ablation")
    assert len({tuple(DATA_SETS[name].columns) for name in LABELED}) == 1  # they share them
    assert list(table.frame.index[:2]) == ["**MNIST**", "VIMAE, ours"]
    assert table.frame["clean"].iloc[1:3].tolist() == ["50.0", "99.0 ± 0.0"]
    assert "Seeds, MNIST: 1 of VIMAE, ours; 2 of the others." in table.notes


def test_rows_under_other_settings_than_the_present_are_named(tmp_path):
    """So that seeds, and models, are compared under equal settings alone."""
    run = Run("tiny", tmp_path / "tiny.jsonl", tmp_path / "cache", epochs=2)
    for job in jobs_of(run, ["tabular"], [], models=["vae", "pca"]):
        if job.cell.data_set == "wine":
            work(run, job)
    notes = tables.tables_of(Results(run.results), "tabular")[0].notes
    assert "Not under the preset's present settings: Wine VAE." in notes


def test_pages_of_the_documentation_are_those_of_the_results(tmp_path, monkeypatch):
    committed = tables.FOLDER
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    for path in tables.write_pages():
        written = (committed / path.name).read_text(encoding="utf-8")
        assert written == path.read_text(encoding="utf-8"), "stale: make paper-pages"
