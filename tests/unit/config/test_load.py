"""The experiment file: what it may say, and the one line that refuses the rest."""

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

from p2pfl.config.load import (
    algorithm_kinds,
    config_from_mapping,
    load_config,
    parse_setting,
    with_algorithm,
    with_values,
)
from p2pfl.config.schema import CrashConfig, DataConfig, ModelConfig, TopologyConfig
from p2pfl.errors import ConfigError

MINIMAL: Final = """
name = "small"
topology = { kind = "ring", nodes = 4 }
data = "digits"
model = "mlp"
training = { learning_rate = 0.1, local_steps = 2 }
stop = { time_s = 10 }
"""


def write(folder: Path, text: str, name: str = "small.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_minimal_file_has_every_default(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    assert config.topology == TopologyConfig(kind="ring", nodes=4)
    assert config.algorithm.kind == "pull_mix"
    assert config.staleness.bound == 3.0


def test_a_whole_number_is_accepted_as_float_and_becomes_one(tmp_path: Path) -> None:
    assert type(load_config(write(tmp_path, MINIMAL)).stop.time_s) is float


@pytest.mark.parametrize("name", ["digits", "my_module:load", "package.my_module:load"])
def test_data_may_be_named_by_its_kind_alone(tmp_path: Path, name: str) -> None:
    text = MINIMAL.replace('"digits"', f'"{name}"')
    assert load_config(write(tmp_path, text)).data == DataConfig(kind=name)


@pytest.mark.parametrize("name", ["mlp", "softmax", "my_module:make_model"])
def test_a_model_may_be_named_by_its_kind_alone(tmp_path: Path, name: str) -> None:
    text = MINIMAL.replace('"mlp"', f'"{name}"')
    assert load_config(write(tmp_path, text)).model == ModelConfig(kind=name)


def test_a_topology_may_be_a_file_beside_the_experiment(tmp_path: Path) -> None:
    text = MINIMAL.replace('{ kind = "ring", nodes = 4 }', '"../graphs/ring.toml"')
    (tmp_path / "examples").mkdir()
    config = load_config(write(tmp_path / "examples", text))
    assert config.topology.kind == "file"
    assert Path(config.topology.path) == (tmp_path / "graphs/ring.toml").resolve()


def test_paths_of_a_mapping_without_a_folder_stay_as_they_are() -> None:
    table = {
        "name": "small",
        "topology": "graphs/ring.toml",
        "data": {"kind": "npz", "folder": "here"},
        "model": "softmax",
        "training": {"learning_rate": 0.1, "local_epochs": 1},
        "stop": {"steps": 5},
    }
    config = config_from_mapping(table, source="code")
    assert (config.topology.path, config.data.folder) == ("graphs/ring.toml", "here")


def test_tables_and_lists_are_read_into_their_types(tmp_path: Path) -> None:
    text = MINIMAL + ('compute.slowdown = { n1 = 4 }\nfaults.crash = [{ node = "n2", at_s = 1 }]\n')
    config = load_config(write(tmp_path, text))
    assert config.compute.slowdown == {"n1": 4.0}
    assert config.faults.crash == (CrashConfig(node="n2", at_s=1.0),)


# Each line: what is appended to (or replaces a line of) the minimal file, and what the error says.
REFUSED: Final = {
    "an unknown section": ("[netwrk]\nloss = 0.1", ["netwrk is unknown", 'mean "network"']),
    "an unknown key": ("[network]\nlos = 0.1", ["network.los is unknown", 'mean "loss"', "codec"]),
    "a text for a number": ('[network]\nloss = "much"', ["network.loss", '"much"', "a number"]),
    "a bool for a whole number": ("seed = true", ["seed is true", "a whole number"]),
    "a float for a whole number": ("seed = 1.5", ["seed is 1.5", "a whole number"]),
    "a number for a text": ("[broker]\nurl = 3", ["broker.url is 3", "a text"]),
    "a text for a bool": ('topology.directed = "no"', ["topology.directed", "true or false"]),
    "a word out of none": ('[network]\ncodec = "float33"', ['mean "float32"', "bfloat16"]),
    "a table for a word": ("[network.codec]\na = 1", ["network.codec is a table"]),
    "a number for a list": ("[comparison]\nalgorithms = 3", ["comparison.algorithms is 3", "list"]),
    "a wrong item": ('[comparison]\nalgorithms = ["x"]', ["comparison.algorithms[0]", "fedavg"]),
    "a number for a table": ("compute = 3", ["compute is 3", "a table of step_s"]),
    "a number for names": ("[compute]\nslowdown = 3", ["compute.slowdown is 3", "each a number"]),
    "a date": ("seed = 2020-01-01", ["seed is 2020-01-01", "a whole number"]),
    "no number": ("[network]\nloss = nan", ["network.loss", "a finite number"]),
    "infinity": ("[staleness]\nbound = inf", ["staleness.bound", "a finite number"]),
    "a huge whole number": (f"[network]\nloss = 1{'0' * 400}", ["network.loss", "a finite number"]),
    "a missing inner key": ("[[faults.crash]]\nat_s = 1", ["faults.crash[0].node is missing"]),
    "an edge of three": ('topology.edges = [["a", "b", "c"]]', ["topology.edges[0]", "[a text"]),
    "a long text": (f'seed = "{"x" * 99}"', [f'seed is "{"x" * 59}...', "a whole number"]),
    "a wrong list": ("seed = [1, 2]", ["seed is [1, 2]", "a whole number"]),
    "broken TOML": ("=", ["is not valid TOML", "line"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_file_is_refused_with_one_line_that_names_it(tmp_path: Path, case: str) -> None:
    line, expected = REFUSED[case]
    text = MINIMAL
    if line.startswith("topology."):
        text = text.replace('topology = { kind = "ring", nodes = 4 }', 'topology.kind = "edges"')
    path = write(tmp_path, text + line + "\n")
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    sentence = str(refused.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    for part in expected:
        assert part in sentence


@pytest.mark.parametrize("key", ["name", "topology", "data", "model", "training", "stop"])
def test_each_required_key_is_asked_for_by_name(tmp_path: Path, key: str) -> None:
    lines = [line for line in MINIMAL.splitlines() if not line.startswith(key)]
    with pytest.raises(ConfigError, match=f": {key} is missing; needed: "):
        load_config(write(tmp_path, "\n".join(lines)))


def test_a_missing_file_is_told_with_the_name_that_was_meant(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "digits.toml")
    with pytest.raises(ConfigError, match=r'no such file; did you mean "digits\.toml"\?'):
        load_config(tmp_path / "digit.toml")


def test_a_folder_is_no_experiment(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_config(tmp_path / "x.toml")


def test_a_file_beyond_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pfl.config.load._FILE_BYTES", len(MINIMAL) - 1)
    with pytest.raises(ConfigError, match="has more than"):
        load_config(write(tmp_path, MINIMAL))


def test_dotted_keys_change_an_experiment_and_leave_the_first_alone(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    changed = with_values(config, {"network.loss": 0.1, "seed": 3, "compute.slowdown.n1": 2})
    assert (changed.network.loss, changed.seed, changed.compute.slowdown) == (0.1, 3, {"n1": 2.0})
    assert (config.network.loss, config.seed, config.compute.slowdown) == (0.0, 0, {})


def test_none_unsets_a_key(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    changed = with_values(config, {"training.local_steps": None, "training.local_epochs": 2})
    assert (changed.training.local_steps, changed.training.local_epochs) == (None, 2)


def test_a_whole_section_may_be_set_by_its_shorthand(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    assert with_values(config, {"model": "softmax"}).model == ModelConfig(kind="softmax")


def test_a_new_kind_takes_the_old_kinds_own_keys_with_it(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    circulant = with_values(config, {"topology.kind": "circulant", "topology.offsets": [1, 2]})
    assert circulant.topology == TopologyConfig(kind="circulant", nodes=4, offsets=(1, 2))
    assert with_values(circulant, {"topology.kind": "ring"}).topology == config.topology


def test_a_key_of_another_kind_that_is_set_on_purpose_is_refused(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    with pytest.raises(ConfigError, match=r"settings: topology\.rows is read by the kind torus"):
        with_values(config, {"topology.kind": "ring", "topology.rows": 3})


@pytest.mark.parametrize("key", ["network.los", "netwrk.loss", "seed.loss", "network.loss.x"])
def test_an_unknown_dotted_key_is_refused(tmp_path: Path, key: str) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    with pytest.raises(ConfigError, match=r"^--set: .* is unknown"):
        with_values(config, {key: 0.1}, source="--set")


def test_a_comparison_puts_any_algorithm_on_the_same_experiment(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL + 'staleness = { policy = "wait", bound = 2 }\n'))
    for kind in algorithm_kinds():
        assert with_algorithm(config, kind).algorithm.kind == kind
    assert with_algorithm(config, "dpsgd").staleness.policy == "drop"
    assert with_algorithm(config, "fedavg").staleness == config.staleness


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("network.loss=0.1", ("network.loss", 0.1)),
        ("seed = 3", ("seed", 3)),
        ("model=softmax", ("model", "softmax")),
        ('model="softmax"', ("model", "softmax")),
        ("model.hidden=[8, 8]", ("model.hidden", [8, 8])),
        ("compute.slowdown={n1 = 2}", ("compute.slowdown", {"n1": 2})),
        ("training.local_steps=", ("training.local_steps", None)),
        ("broker.url=mqtt://host:1883", ("broker.url", "mqtt://host:1883")),
        ("name=a\nseed = 3", ("name", "a\nseed = 3")),
        ("name=1\nseed = 3", ("name", "1\nseed = 3")),
    ],
)
def test_a_setting_is_a_toml_value_or_else_a_text(text: str, expected: tuple[str, object]) -> None:
    assert parse_setting(text) == expected


@pytest.mark.parametrize("text", ["network.loss", "=3", "a b=3", "a..b=3", ""])
def test_what_is_not_key_equals_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        parse_setting(text)


def test_nothing_where_a_value_belongs_is_refused() -> None:
    with pytest.raises(ConfigError, match="name is nothing; allowed: a text in quotes"):
        config_from_mapping({"name": None}, source="json")


def test_a_wrong_optional_value_is_told_without_its_absence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"stop\.time_s is \"x\"; allowed: a number$"):
        load_config(write(tmp_path, MINIMAL.replace("time_s = 10", 'time_s = "x"')))


@pytest.mark.parametrize("threads", ["auto", 1, 8])
def test_a_key_may_be_a_word_or_a_number(threads: object) -> None:
    table = {**tomllib.loads(MINIMAL), "runtime": {"threads": threads}}
    assert config_from_mapping(table, source="here").runtime.threads == threads


@pytest.mark.parametrize(
    ("threads", "words"),
    [
        ("aut", 'runtime.threads is "aut"; did you mean "auto"?'),
        (0, "runtime.threads is 0; allowed: at least 1"),
        (1.5, "runtime.threads is 1.5; allowed: a whole number"),
    ],
)
def test_what_is_neither_the_word_nor_a_number_is_refused(threads: object, words: str) -> None:
    table = {**tomllib.loads(MINIMAL), "runtime": {"threads": threads}}
    with pytest.raises(ConfigError, match=re.escape(words)):
        config_from_mapping(table, source="here")
