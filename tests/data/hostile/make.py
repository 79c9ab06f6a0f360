"""Small HDF5 files that claim, repeat or go round in circles: `python tests/data/hostile/make.py` writes them beside itself (h5py 3).

What each must lead to is in tests/hostile.rs. Sound parts are written by h5py; lies are patched into the bytes afterwards.
"""
import struct
import zlib
from pathlib import Path

import h5py
import numpy

HERE = Path(__file__).parent


def file(name, libver="earliest"):
    return h5py.File(HERE / name, "w", libver=libver)


# A chunk of 64 MiB of zeros in 64 KB: a bomb that keeps what it promises.
with file("inflates.h5") as f:
    chunk = 8 << 20
    f.create_dataset("x", shape=(chunk,), dtype="f8", chunks=(chunk,), compression=9)
    f["x"].id.write_direct_chunk((0,), zlib.compress(bytes(8 * chunk), 9))

# One chunk of 4 GiB less a little, of which a few bytes are there.
with file("chunk-of-4-gib.h5") as f:
    chunk = (1 << 29) - 1
    f.create_dataset("x", shape=(chunk,), dtype="f8", chunks=(chunk,), compression=1)
    f["x"].id.write_direct_chunk((0,), zlib.compress(bytes(1000)))

# A time coordinate of 64 GiB that nobody wrote, in four chunks of which none is there.
with file("endless-time.h5") as f:
    length = 1 << 33
    time = f.create_dataset("time", shape=(length,), maxshape=(None,), dtype="f8", chunks=(1 << 28,))
    time.attrs["units"] = "days since 2000-01-01"
    time.make_scale("time")
    x = f.create_dataset("x", shape=(length,), maxshape=(None,), dtype="i1", chunks=(1 << 28,))
    x.dims[0].attach_scale(time)

# 2^40 chunks of one byte, one of them written.
for name, libver in [("chunks-btree.h5", "earliest"), ("chunks-array.h5", "latest")]:
    with file(name, libver) as f:
        f.create_dataset("x", shape=(1 << 40,), maxshape=(None,), dtype="i1", chunks=(1,))
        f["x"][3] = 1

# 100,000 references to one text of 20 KB: 2 GB of texts in a file of some 30 KB.
with file("texts.h5") as f:
    f.create_dataset("one", data=["x" * 20_000], dtype=h5py.string_dtype())
    f.flush()
    offset = f["one"].id.get_offset()
reference = (HERE / "texts.h5").read_bytes()[offset : offset + 16]
with h5py.File(HERE / "texts.h5", "a") as f:
    many = f.create_dataset("many", shape=(100_000,), dtype=h5py.string_dtype(), chunks=(100_000,), compression=9)
    many.id.write_direct_chunk((0,), zlib.compress(reference * 100_000, 9))

# An attribute of 1,000 such references to 40 KB: 40 MB.
with file("attribute.h5") as f:
    f.create_dataset("one", data=["y" * 40_000], dtype=h5py.string_dtype())
    f.create_dataset("x", data=numpy.arange(3))
    f["x"].attrs.create("note", ["zz"] * 1000, dtype=h5py.string_dtype())
    f.flush()
    offset = f["one"].id.get_offset()
data = bytearray((HERE / "attribute.h5").read_bytes())
reference = data[offset : offset + 16]
marker = struct.pack("<I", 2)
# References of the attribute: length 2, an address, an index that counts up.
at = data.find(b"note\0") + 8
patches = 0
while patches < 1000:
    at = data.find(marker, at)
    data[at : at + 16] = reference
    at += 16
    patches += 1
(HERE / "attribute.h5").write_bytes(data)

# 1,000 links of an old group, all with the one name of 20,000 letters: 20 MB.
with file("names.h5") as f:
    f["a" * 20_000] = numpy.arange(3)
    for number in range(999):
        f[f"b{number:04}"] = f["a" * 20_000]
data = bytearray((HERE / "names.h5").read_bytes())
heap = data.find(b"HEAP")
segment = struct.unpack_from("<Q", data, heap + 24)[0]
long = data.find(b"a" * 20_000) - segment
at = 0
while (at := data.find(b"SNOD", at)) >= 0:
    (count,) = struct.unpack_from("<H", data, at + 6)
    for entry in range(count):
        struct.pack_into("<Q", data, at + 8 + 40 * entry, long)
    at += 8
(HERE / "names.h5").write_bytes(data)

# Groups that hold one another, and links that lead in circles.
with file("circles.h5") as f:
    f.create_dataset("a/b/x", data=numpy.arange(3))
    f["a/b/up"] = f["/"]
    f["a/again"] = f["a"]
    f["soft"] = h5py.SoftLink("/hard")
    f["hard"] = h5py.SoftLink("/soft")
    f["deep"] = h5py.SoftLink("/deep/deep/deep")

# A hundred groups, each in the other.
with file("deep.h5", "latest") as f:
    group = f
    for number in range(100):
        group = group.create_group("g")
    group["x"] = numpy.arange(3)

# A chunk index whose inner node is its own child.
with file("own-child.h5") as f:
    f.create_dataset("x", shape=(1000,), maxshape=(None,), dtype="i1", chunks=(1,))
    f["x"][:] = 1
data = bytearray((HERE / "own-child.h5").read_bytes())
at = 0
while (at := data.find(b"TREE\x01", at)) >= 0:
    if data[at + 5] > 0:
        # key: size, mask, two offsets; then the child.
        struct.pack_into("<Q", data, at + 24 + 8 + 16, at)
        break
    at += 4
assert at >= 0
(HERE / "own-child.h5").write_bytes(data)

# Names and texts that a terminal or a workflow's runner would obey.
with file("escapes.h5") as f:
    x = f.create_dataset("x\x1b]0;owned\x07", data=numpy.arange(3))
    x.attrs["note"] = "\x1b[2J\n::add-mask::x\n\u202egnp.exe"
    f.attrs["title"] = "<script>alert(1)</script>\r::error::fake"

for path in sorted(HERE.glob("*.h5")):
    print(path.name, path.stat().st_size)
