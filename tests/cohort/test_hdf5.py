"""An HDF5 file is read for its own data alone, whatever it points to."""

import h5py
import numpy as np
import pytest

from dtb.cohort.connectomes.matrix_files import read_mat
from dtb.cohort.series.tabular import read_hdf5
from dtb.config import IngestConfig
from dtb.errors import InputDataError


@pytest.mark.parametrize("way", ["external storage", "external link", "soft link", "virtual"])
@pytest.mark.parametrize("read", ["series", "matrix"])
@pytest.mark.parametrize("name", ["dataset", "group/within/dataset"])
def test_data_of_another_file_are_refused(tmp_path, way, read, name):
    secret = np.arange(16.0).reshape(4, 4)
    (tmp_path / "secret").write_bytes(secret.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as stream:
        stream["dataset"] = secret
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as stream:
        if way == "external storage":
            stream.create_dataset(name, (4, 4), "f8", external=[(str(tmp_path / "secret"), 0, 128)])
        elif way == "virtual":
            layout = h5py.VirtualLayout((4, 4), "f8")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "dataset", (4, 4))
            stream.create_virtual_dataset(name, layout)
        elif way == "external link":
            stream[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/dataset")
        else:
            stream[name] = h5py.SoftLink("/elsewhere")
    with pytest.raises(InputDataError, match=f"run.*'{name}' is a link, or its data lie in another file"):
        read_hdf5(path, 4, 1.0) if read == "series" else read_mat(path, IngestConfig())
