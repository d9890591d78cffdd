"""Names and labels: a table that does not fit its image is refused or what is missing is named, and no name moves to another label."""

import nibabel
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, LabelAxis

from dtb.cohort.layouts.table import LAYOUTS
from dtb.cohort.series.atlas import labels_of_volume
from dtb.cohort.series.region_table import load_region_table
from dtb.config import IngestConfig
from dtb.errors import InputDataError

NAMES = [f"Name{number}" for number in range(1, 9)]

LEFT_OUT = "What has no name or no label is left out."


def config_of(tmp_path, labels, table: str, kind: str = "tsv") -> IngestConfig:
    """Write an image with these labels, and its table."""
    values = np.zeros((4, 4, 4), np.int16)
    values.flat[: 2 * len(labels)] = np.repeat(labels, 2)
    atlas = tmp_path / "tpl-MNI_atlas-a_dseg.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), atlas)
    (tmp_path / f"tpl-MNI_atlas-a_dseg.{kind}").write_text(table)
    return IngestConfig(layout="fmriprep", atlas=atlas)


def lacking_in_atlas(config: IngestConfig) -> list[str]:
    return LAYOUTS[config.layout].lacking((), config)


def numbered(names, first: int = 1) -> str:
    return "index\tname\tx\n" + "".join(f"{first + place}\t{name}\t1, 2\n" for place, name in enumerate(names))


def test_labels_are_those_of_the_image_without_its_background(tmp_path):
    config = config_of(tmp_path, [1, 3, 400], "1\ta\n3\tb\n400\tc\n")
    assert labels_of_volume(config.atlas) == {1, 3, 400}
    assert lacking_in_atlas(config) == []


@pytest.mark.parametrize(
    ("labels", "table", "kind", "message"),
    [
        (range(1, 9), numbered(NAMES, first=0), "tsv", r"has the label 8 without a name.*counts from 0, add 1"),
        (
            [1, 2, 3, 5, 6, 7, 8, 9],
            "\n".join(NAMES),
            "txt",
            r"the label 9 without a name.*names the region Name4 \(4\)",
        ),
        ([1, 3, 5, 7, 9, 11, 13, 15], "\n".join(NAMES), "txt", "the 4 labels 9, 11, 13, 15 without a name"),
        (range(1, 9), "\n".join(NAMES[:6]), "txt", "the 2 labels 7, 8 without a name.*without a gap: write"),
        (range(1, 7), "\n".join(NAMES), "txt", r"the 2 regions Name7 \(7\), Name8 \(8\) without a label"),
        (
            range(1, 9),
            numbered(NAMES, first=101),
            "tsv",
            r"the 8 labels 1, 2, 3, 4, 5, 6 and 2 more.*Name6 \(106\) and 2 more",
        ),
        (range(1, 9), numbered(NAMES, first=2), "tsv", r"the label 1 without a name.*Name8 \(9\)"),
    ],
    ids=["0-based", "gap", "odd", "fewer names", "more names", "other numbers", "2-based"],
)
def test_names_that_may_stand_at_the_wrong_labels_are_refused_with_what_each_side_lacks(
    tmp_path, labels, table, kind, message
):
    with pytest.raises(InputDataError, match=message):
        lacking_in_atlas(config_of(tmp_path, list(labels), table, kind))


def test_with_numbers_in_the_table_what_one_side_alone_lacks_is_named(tmp_path):
    more = config_of(tmp_path, list(range(1, 9)), numbered(NAMES[:6]))
    image, table = more.atlas.name, "tpl-MNI_atlas-a_dseg.tsv"
    assert lacking_in_atlas(more) == [f"{image} has the 2 labels 7, 8 without a name in {table}. {LEFT_OUT}"]
    fewer = config_of(tmp_path, list(range(1, 8)), numbered(NAMES))
    assert lacking_in_atlas(fewer) == [f"{table} names the region Name8 (8) without a label in {image}. {LEFT_OUT}"]


def test_what_the_table_calls_background_is_no_region_and_lacks_nothing(tmp_path):
    config = config_of(tmp_path, [1, 2, 3], "index\tname\n0\tUnknown\n1\ta\n2\tb\n3\t???\n")
    assert lacking_in_atlas(config) == []


@pytest.mark.parametrize(
    "text",
    [
        "index\tlabel\tnetwork_label\tatlas_name\n2\tb_2\tVis\t4S\n1\ta_1\tVis\t4S\n",
        "#No. Label Name:            R   G   B   A\n\n0   Unknown  0 0 0 0\n1   a_1  70 130 180 0\n2   b_2  245 245 245 0\n",
        "1 0.93 0.13 0.51 a_1\n2 0.2 0.13 0.5 b_2\n",
        '# ITK-SNAP\n    0     0    0    0        0  0  0    "Clear Label"\n    1   255    0    0        1  1  1    "a_1"\n'
        '    2     0  255    0        1  1  1    "b_2"\n',
        "1\ta_1\t70\t130\t180\t0\n2\tb_2\t245\t245\t245\t0\n",
        "1,a_1\n2,b_2\n",
        "name\na_1\nb_2\n",
        "a_1\nb_2\n",
    ],
    ids=["4S", "FreeSurfer", "FSLeyes", "ITK-SNAP", "tabs", "commas", "headed list", "list"],
)
def test_every_kind_of_table_gives_the_same_names(tmp_path, text):
    path = tmp_path / "table.txt"
    path.write_text(text)
    assert load_region_table(path).names == {1: "a_1", 2: "b_2"}


def test_xml_is_refused_and_not_taken_for_a_list_of_names(tmp_path):
    path = tmp_path / "atlas.xml"
    path.write_text('<?xml version="1.0"?>\n<label index="0">Pole</label>\n')
    with pytest.raises(InputDataError, match=r"XML.*`index<TAB>name`"):
        load_region_table(path)


def test_labels_of_a_surface_are_held_against_their_own_table(tmp_path):
    surface = BrainModelAxis.from_surface(np.arange(10), 10, "CortexLeft")
    names = {0: ("???", (0, 0, 0, 0)), **{number: (f"r{number}", (1, 1, 1, 1)) for number in (1, 2, 3)}}
    atlas = tmp_path / "atlas.dlabel.nii"
    config = IngestConfig(layout="fmriprep_cifti", atlas=atlas)

    def lacking(values):
        labels_1G = np.array([values], np.float32)
        nibabel.Cifti2Image(labels_1G, (LabelAxis(["atlas"], [names]), surface)).to_filename(atlas)
        return lacking_in_atlas(config)

    assert lacking([0, 1, 1, 2, 2, 3, 3, 3, 3, 3]) == []
    assert lacking([0, 1, 1, 2, 2, 2, 2, 2, 2, 2]) == [
        f"{atlas.name} names the region r3 (3) without a label in {atlas.name}. {LEFT_OUT}"
    ]
    with pytest.raises(InputDataError, match=r"the label 4 without a name.*r1 \(1\)"):
        lacking([0, 2, 2, 3, 3, 4, 4, 4, 4, 4])
