#!/bin/bash
# Makes these archives anew, with other people's programs: Info-ZIP, GNU tar, gzip, bzip2, zstd and Python's zipfile.
# Their members are all the lines `NAME 0`, `NAME 1`, … to `NAME 299`, which tests/wrapping makes again by itself.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cd "$work"
long=d/$(printf 'a-very-long-name-%.0s' 1 2 3 4 5 6 7 8)end.txt
mkdir d
for name in one.txt d/two.txt "$long"; do
  for number in $(seq 0 299); do echo "$name $number"; done > "$name"
done
touch -d 2020-02-02T02:02:02Z one.txt d/two.txt "$long" d
rm -f "$here"/*.zip "$here"/*.tar "$here"/*.tgz "$here"/*.gz "$here"/*.bz2 "$here"/*.zst
zip -q -X -0 "$here/info-zip.zip" one.txt
zip -q -X -9 "$here/info-zip.zip" d d/two.txt "$long"
zip -q -X -P secret "$here/encrypted.zip" one.txt
# Written to a pipe: lengths follow the members, and every length is a zip64 one.
python3 - d/two.txt one.txt > "$here/zip64.zip" <<'PYTHON'
import sys, zipfile
class Pipe:
    def write(self, data): return sys.stdout.buffer.write(data)
    def flush(self): pass
with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:
    for name in sys.argv[1:]:
        info = zipfile.ZipInfo(name, (2020, 2, 2, 2, 2, 2))
        info.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(info, "w", force_zip64=True) as member:
            member.write(open(name, "rb").read())
PYTHON
# Something stands before the archive, as in one that unpacks itself; other methods.
python3 - one.txt "$here" <<'PYTHON'
import sys, zipfile
name, here = sys.argv[1:]
data = open(name, "rb").read()
with open(f"{here}/prefixed.zip", "wb") as file:
    file.write(b"#!/bin/sh\nexit\n" * 20)
with zipfile.ZipFile(f"{here}/bare.zip", "w") as archive:
    for method, member in [(zipfile.ZIP_BZIP2, "bzip2.txt"), (zipfile.ZIP_LZMA, "lzma.txt"), (zipfile.ZIP_STORED, "one.txt")]:
        info = zipfile.ZipInfo(member, (2020, 2, 2, 2, 2, 2))
        info.compress_type = method
        archive.writestr(info, data)
with open(f"{here}/prefixed.zip", "ab") as file:
    file.write(open(f"{here}/bare.zip", "rb").read())
PYTHON
mv "$here/bare.zip" "$here/methods.zip"
owner=(--owner=0 --group=0 --numeric-owner)
tar "${owner[@]}" --format=gnu -cf "$here/gnu.tar" one.txt d
tar "${owner[@]}" --format=pax --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -cf "$here/pax.tar" ./one.txt ./d
tar "${owner[@]}" --format=ustar -cf - one.txt d/two.txt | gzip -9n > "$here/ustar.tgz"
{ gzip -9nc one.txt; gzip -1nc d/two.txt; head -c 1000 /dev/zero; } > "$here/two-members.gz"
{ bzip2 -9c one.txt; bzip2 -1c d/two.txt; } > "$here/two-streams.bz2"
{ zstd -q -c one.txt; zstd -q --check -c d/two.txt; } > "$here/two-frames.zst"
