"""Makes the two files beside it: HDF5 whose chunks at the dataset's edge are stored without filters (H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS),
with every kind of chunk index and header, and the values that h5py reads back from it. Synthetic values. Needs h5py."""

import ctypes
import json
from pathlib import Path

import h5py
import numpy as np

HERE = Path(__file__).parent
DONT_FILTER_PARTIAL_CHUNKS = 2  # H5Dpublic.h
# h5py has no call for the option, but the HDF5 library that it has loaded does.
HDF5 = ctypes.CDLL(str(next(Path(h5py.__file__).parent.parent.glob("h5py.libs/libhdf5-*.so*"))))
HDF5.H5Pset_chunk_opts.argtypes = [ctypes.c_int64, ctypes.c_uint]
SHAPE, CHUNK = (5, 7), (2, 4)
SHUFFLE, DEFLATE = ("shuffle",), ("shuffle", "deflate")
#        name: (longest shape, filters, shape to grow to, flag, attributes that make the header continue elsewhere)
MADE = {
    "fixed_shuffle": (None, SHUFFLE, None, True, 0),
    "fixed_deflate": (None, DEFLATE, None, True, 0),
    "growing_shuffle": ((None, 7), SHUFFLE, (9, 7), True, 0),
    "growing_deflate": ((None, 7), DEFLATE, (6, 7), True, 0),
    "any_shuffle": ((None, None), SHUFFLE, None, True, 0),
    "any_deflate": ((None, None), DEFLATE, (6, 8), True, 0),
    "long_header": (None, SHUFFLE, None, True, 7),
    "all_filtered": (None, SHUFFLE, None, False, 0),
}


def make(file: h5py.File, name: str, order: bool) -> None:
    longest, filters, grown, flag, attributes = MADE[name]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(CHUNK)
    properties.set_shuffle()
    if "deflate" in filters:
        properties.set_deflate(6)
    if flag:
        assert HDF5.H5Pset_chunk_opts(properties.id, DONT_FILTER_PARTIAL_CHUNKS) >= 0
    if order:
        properties.set_attr_creation_order(h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED)
    unlimited = longest and tuple(h5py.h5s.UNLIMITED if length is None else length for length in longest)
    space = h5py.h5s.create_simple(SHAPE, unlimited)
    dataset = h5py.Dataset(h5py.h5d.create(file.id, name.encode(), h5py.h5t.STD_I32LE, space, properties))
    dataset[...] = np.arange(35).reshape(SHAPE) * 70_001 - 1_000_000
    for number in range(attributes):
        dataset.attrs[f"note_{number}"] = "words that make a header long " * 8
    if grown:
        dataset.resize(grown)
        dataset[SHAPE[0]:] = 123_456_789


expected = {}
for name, versions, order in (("latest.h5", ("v110", "v110"), True), ("earliest.h5", ("earliest", "v110"), False)):
    with h5py.File(HERE / name, "w", libver=versions) as file:
        for dataset in MADE:
            make(file, dataset, order)
    with h5py.File(HERE / name) as file:
        expected[name] = {dataset: {"shape": file[dataset].shape, "values": file[dataset][...].ravel().tolist()} for dataset in MADE}
(HERE / "expected.json").write_text(json.dumps(expected) + "\n")
