"""A configuration survives YAML, is refused in words, and has a hash that follows its content."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from dtb.config import Config, SegmentConfig, TrainConfig, config_hash, from_mapping, load_config, sections, to_yaml
from dtb.errors import ConfigurationError
from dtb.intervene.protocol import Protocol

CONFIGS = Path(__file__).parent.parent / "configs"


def test_yaml_round_trip_gives_the_same_configuration_and_hash() -> None:
    config = Config(name="mine", seed=3, train=TrainConfig(num_workers=7))
    again = from_mapping(Config, yaml.safe_load(to_yaml(config)), "text")
    assert again == config
    assert config_hash(again) == config_hash(config)


def test_hash_changes_with_any_value_and_not_with_the_spelling() -> None:
    assert config_hash(Config(seed=1)) != config_hash(Config())
    assert config_hash(SegmentConfig(segment_seconds=60)) == config_hash(SegmentConfig(segment_seconds=60.0))


def test_sections_hide_what_a_stage_does_not_read() -> None:
    one = Config(train=TrainConfig(max_epochs=1), seed=2)
    other = Config(train=TrainConfig(max_epochs=9), seed=2)
    assert config_hash(sections(one, "seed", "twin")) == config_hash(sections(other, "seed", "twin"))
    assert config_hash(sections(one, "train")) != config_hash(sections(other, "train"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"train": {"num_wrkers": 2}}, ["here.yaml", "unknown key `train.num_wrkers`", "`num_workers`"]),
        ({"trian": {}}, ["unknown key `trian`", "`train`"]),
        ({"train": {"num_workers": 0}}, ["`train.num_workers` is 0", "greater than or equal to 1"]),
        ({"twin": {"cell": "lstm"}}, ["`twin.cell` is 'lstm'", "'elman', 'leaky' or 'gated'"]),
        ({"train": {"learning_rate": float("nan")}}, ["`train.learning_rate` is nan", "finite"]),
        ({"twin": 3}, ["`twin` is 3"]),
        ({"segments": {"segment_seconds": 12}}, ["`burn_in_seconds` is 20", "shorter than `segment_seconds` (12)"]),
        (
            {"plan": {"people": [10]}},
            ["here.yaml: `plan.people.0` is 10: input should be greater than or equal to 20."],
        ),
        ({"twin": {"step_seconds": 2}}, ["`twin.step_seconds` is 2", "less than or equal to 1"]),
        ({"synth": {"repetition_time": 1000}}, ["`synth.repetition_time` is 1000", "less than or equal to 20"]),
        ({"synth": {"tasks": []}}, ["`synth.tasks` is []", "at least 1 item"]),
    ],
)
def test_what_is_not_allowed_is_refused_with_place_and_remedy(values: dict, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_mapping(Config, values, "here.yaml")
    for word in words:
        assert word in str(caught.value)


def test_what_is_said_of_a_wrong_or_missing_key_is_one_line_without_the_rest_of_the_mapping() -> None:
    def said(kind: type, values: dict) -> str:
        with pytest.raises(ConfigurationError) as caught:
            from_mapping(kind, values, "here.yaml")
        return str(caught.value)

    assert said(Config, {"plan": {"people": [10]}}).count("\n") == 0
    assert said(Config, {"twin": {"hrf_derivatives": True, "bold": "direct"}}) == (
        "here.yaml: `twin`: `hrf_derivatives` needs `bold: hrf`."
    )
    for twin in ({"latent_size": 0}, {"press": "sigmoid"}, {"bold": "direct"}):
        assert said(Config, {"twin": twin}).startswith("here.yaml: `twin`: `person_effects` needs ")
    assert said(Protocol, {}) == "here.yaml: `title` is missing."


def test_absent_and_malformed_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="absent.yaml is not a file"):
        load_config(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("train: [1,")
    with pytest.raises(ConfigurationError, match="not valid YAML"):
        load_config(broken)
    broken.write_bytes("seed: 1\nname: Zürich\n".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"broken.yaml, line 2: not UTF-8 text"):
        load_config(broken)
    broken.write_text("train:\n  max_epochs: 1\n  patience_epochs: 2\n  max_epochs: 3\n")
    with pytest.raises(ConfigurationError, match=r"broken.yaml, line 4: .*`max_epochs` is there already, in line 2"):
        load_config(broken)
    broken.write_text("- a\n- b\n")
    with pytest.raises(ConfigurationError, match="expected `key: value`"):
        load_config(broken)


@pytest.mark.parametrize(
    "path", sorted({*CONFIGS.glob("*.yaml"), *CONFIGS.glob("cohorts/*.yaml")}), ids=lambda path: path.stem
)
def test_shipped_configurations_load(path: Path) -> None:
    assert load_config(path).name


def test_every_option_is_explained() -> None:
    """Each field has a text under it, since that text is the help and the reference."""
    import ast
    import inspect

    import dtb.config

    tree = ast.parse(inspect.getsource(dtb.config))
    for kind in (
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config") and node.name != "Config"
    ):
        for position, node in enumerate(kind.body):
            if isinstance(node, ast.AnnAssign):
                after = kind.body[position + 1] if position + 1 < len(kind.body) else None
                explained = (
                    isinstance(after, ast.Expr)
                    and isinstance(after.value, ast.Constant)
                    and isinstance(after.value.value, str)
                )
                assert explained, f"{kind.name}.{ast.unparse(node.target)} has no text under it"
        assert dataclasses.is_dataclass(getattr(dtb.config, kind.name))
