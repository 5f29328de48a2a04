"""The table from known cells: means, spreads and the comparison of components, by hand."""

import csv
import statistics
from pathlib import Path

import pytest
from labelled_data import labelled_set

from SAMFinetuneLogic.files import write_json
from SAMFinetuneLogic.finetuning.strategy import Strategy, all_strategies
from SAMFinetuneLogic.study.datasets import PreparedData
from SAMFinetuneLogic.study.folder import StudyFolder
from SAMFinetuneLogic.study.measurement import Measurement
from SAMFinetuneLogic.study.plan import Cell, StudyModel, StudySettings, make_cells
from SAMFinetuneLogic.study.report import write_report
from SAMFinetuneLogic.study.splitting import study_split
from SAMFinetuneLogic.study.summary import Spread, find, rows_of

MODEL = StudyModel("tiny", "tiny", "compact", "0" * 64)
SETTINGS = StudySettings(shots=3)
MIB = 2**20


def measured(dice: float, parameters: int = 1000, seconds: float = 60.0, memory: int = 500 * MIB) -> Measurement:
    return Measurement(dice, {"liver": dice}, parameters, 10, seconds, memory, None, 3, 2)


def cell(data_set: str, algorithm: str, components: str, seed: int) -> Cell:
    return Cell(data_set, "f", MODEL, Strategy.of(algorithm, components), seed, SETTINGS)


KNOWN = [
    (cell("a", "lora", "decoder", 0), measured(0.5)),
    (cell("a", "lora", "decoder", 1), measured(0.7, memory=900 * MIB)),
    (cell("b", "lora", "decoder", 0), measured(0.8, seconds=120.0)),
    (cell("b", "lora", "decoder", 1), measured(0.8)),
    (cell("a", "lora", "encoder_decoder", 0), measured(0.6)),
    (cell("a", "lora", "encoder_decoder", 1), measured(0.9)),
    (cell("b", "lora", "encoder_decoder", 0), measured(0.7)),
    (cell("b", "lora", "encoder_decoder", 1), measured(0.8)),
    (cell("b", "vanilla", "encoder_decoder", 0), measured(0.1)),  # nothing to compare it with
    (Cell("a", "f", None, None, 0, SETTINGS), measured(0.4)),
    (Cell("a", "f", MODEL, None, 0, SETTINGS), measured(0.3, 0, 0.0)),
]


def test_a_row_is_a_strategy_with_means_over_seeds_then_data_sets():
    row = next(row for row in rows_of(KNOWN) if row.method == "lora-decoder")
    assert row.by_data_set["a"] == Spread(pytest.approx(0.6), pytest.approx(statistics.stdev([0.5, 0.7])), 2)
    assert row.by_data_set["b"].deviation == 0
    assert row.overall.mean == pytest.approx(0.7)
    assert row.overall.deviation == pytest.approx(statistics.stdev([0.6, 0.8]))
    assert row.seconds.mean == pytest.approx(75.0)
    assert row.memory == 900 * MIB and row.gpu_memory is None


def test_rows_keep_the_order_and_the_unet_is_last():
    assert [row.method for row in rows_of(KNOWN)] == [
        "lora-decoder",
        "lora-encoder-decoder",
        "vanilla-encoder-decoder",
        "base",
        "unet",
    ]


def test_the_finding_pairs_cells_that_differ_in_components_alone():
    found = find(KNOWN)
    gains = [0.1, 0.2, -0.1, 0.0]
    assert found is not None
    assert found.gain.count == 4
    assert found.gain.mean == pytest.approx(statistics.mean(gains))
    assert found.gain.deviation == pytest.approx(statistics.stdev(gains))
    assert (found.ahead, found.data_sets) == (1, 2)
    assert list(found.by_algorithm) == ["lora"]
    assert "+0.050 ± 0.129" in found.sentence() and "1 of 2 data sets" in found.sentence()
    assert "does not bear out" in found.sentence()  # ahead on average, but in no majority of data sets
    assert find(KNOWN[:4]) is None


def test_all_cells_of_a_study():
    cells = make_cells([("a", "1"), ("b", "2")], [MODEL], all_strategies(), 3, StudySettings())
    assert len(cells) == 2 * (6 * 3 + 3 + 1)  # strategies, U-Nets, and the model as it is once
    assert len({each.key for each in cells}) == len({each.file_name for each in cells}) == len(cells)
    prompts = make_cells([("a", "1")], [MODEL], all_strategies(), 1, StudySettings("prompts"))
    assert len(prompts) == 7  # a U-Net takes no clicks
    assert {each.seed for each in cells[:16]} == {0} and cells[16].seed == 1  # seed by seed


def test_the_key_depends_on_all_that_matters():
    first = cell("a", "lora", "decoder", 0)
    others = [
        cell("a", "lora", "decoder", 1),
        cell("a", "lora", "encoder_decoder", 0),
        Cell("a", "g", MODEL, first.strategy, 0, SETTINGS),
        Cell("a", "f", StudyModel("tiny", "tiny", "compact", "1" * 64), first.strategy, 0, SETTINGS),
        Cell("a", "f", MODEL, first.strategy, 0, StudySettings(shots=4)),
    ]
    assert len({first.key, *(other.key for other in others)}) == 6
    assert Cell("renamed", "f", MODEL, first.strategy, 0, SETTINGS).key == first.key


def test_the_report_has_every_number(tmp_path: Path):
    folder = StudyFolder(tmp_path / "study")
    folder.open(SETTINGS, False)
    for each, measurement in KNOWN:
        write_json(folder.cells / each.file_name, {"key": each.key, **measurement.to_dict()})
    slices = labelled_set()
    data = [PreparedData.of(name, slices, study_split(slices, 3, 24)) for name in "ab"]
    missing = cell("b", "vanilla", "decoder", 0)
    text = write_report(folder, [*(each for each, _ in KNOWN), missing], data, SETTINGS, (), ["c is too small"])
    assert (folder.path / "study.md").read_text(encoding="utf-8") == text
    line = next(line for line in text.splitlines() if "LoRA, decoder" in line)
    fields = [field.strip() for field in line.strip("|").split("|")]
    assert fields[2:] == ["0.600 ± 0.141", "0.800 ± 0.000", "0.700 ± 0.141", "1,000", "1.2", "900 MiB"]
    assert "**0.750 ± 0.000**" in text  # the best one
    assert "11 of 12 cells" in text and "c is too small" in text and "+0.050 ± 0.129" in text
    with (folder.path / "study.csv").open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert [float(line["dice"]) for line in lines] == [m.dice for _, m in KNOWN]
    assert lines[4]["components"] == "encoder_decoder" and lines[-2]["algorithm"] == "unet"
    from PIL import Image

    with Image.open(folder.path / "study.png") as picture:
        assert picture.size == (1240, 620)
        assert {(0, 114, 178), (110, 110, 110)} <= {color for _, color in picture.convert("RGB").getcolors(1 << 20)}


def test_a_damaged_cell_counts_as_missing(tmp_path: Path):
    folder = StudyFolder(tmp_path)
    each, measurement = KNOWN[0]
    content = {"key": each.key, **measurement.to_dict()}
    write_json(folder.cells / each.file_name, content)
    assert folder.read(each) == measurement
    for damaged in ({**content, "key": "x"}, {"key": each.key}, {**content, "dice": None}, []):
        write_json(folder.cells / each.file_name, damaged)
        assert folder.read(each) is None
    (folder.cells / each.file_name).write_text("{", encoding="utf-8")
    assert folder.read(each) is None
