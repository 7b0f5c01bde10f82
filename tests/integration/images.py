# SPDX-License-Identifier: Apache-2.0
"""Images under test: the source, what it must look like, and the converted one."""
import hashlib
import os
import shutil
import subprocess
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import corner_cases
import environment
import model
import mounts
import oci_layout
import trees
from reader import image as reader_image
from reader import tree


@dataclass
class TestImage:
    """name of the source as tarn wants it, expected tree, tree digest (where it can be known
    without Tarn), and the converted image."""
    name: str
    source: str
    expected: dict
    digest: str = ""
    converted: str = ""
    directory: Path = None
    _read: object = field(default=None, repr=False)

    __test__ = False  # no test class of pytest's

    @property
    def layout(self):
        return self.converted.removeprefix("oci:").rpartition(":")[0]

    @property
    def read(self):
        """The reader's Image of the converted one."""
        if self._read is None:
            self._read = reader_image.Image(self.converted)
        return self._read

    def mount_by_kernel(self, target):
        """Writes bootstrap and data files and mounts them -> [data files], slot 1 first."""
        files = write_files(self.read, self.directory / "files")
        mounts.erofs(files[0], files[1:], target)
        return files


def write_files(image, directory):
    """[bootstrap, data file of slot 1, ...]; what is there is kept."""
    files = [directory / "bootstrap"]
    boot = image.bootstrap
    files += [directory / f"slot-{slot}" for slot in sorted(boot.by_slot)]
    if directory.exists():
        return files
    directory.mkdir()
    files[0].write_bytes(image.bootstrap_bytes)
    for slot, path in zip(sorted(boot.by_slot), files[1:]):
        source = image.spaces.files[boot.by_slot[slot]]
        with open(path, "wb") as file:
            at, size = 0, os.fstat(source.fileno()).st_size
            while at < size:
                at += os.copy_file_range(source.fileno(), file.fileno(), size - at, at, at)
    return files


def unpack_by_umoci(layout, tag, scratch):
    """The tree that umoci makes of an image -> {path: Entry}. Unpacks on a tmpfs, which takes all
    xattrs and times."""
    target = scratch / "tmpfs"
    with mounts.Mounted("tmpfs", "tmpfs", target, "mode=0755"):
        words = ["umoci", "raw", "unpack", "--image", f"{layout}:{tag}", f"{target}/tree"]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace",
                              check=False)
        assert done.returncode == 0, f"umoci: {done.stdout}{done.stderr}"
        return trees.scan(f"{target}/tree")


def root_entry(layout, tag):
    """(mtime in ns) of the last `./` entry of an image's layers, 0 without any: umoci loses it."""
    manifest = oci_layout.read_json(layout, oci_layout.tags(layout)[tag])
    found = 0
    for layer in manifest["layers"]:
        path = os.path.join(layout, "blobs", *layer["digest"].split(":"))
        with tarfile.open(path, "r:*") as tar:
            for member in tar:
                if member.name in (".", "", "/"):
                    text = member.pax_headers.get("mtime", str(int(member.mtime)))
                    seconds, _, rest = text.partition(".")
                    found = int(seconds) * 10**9 + int(rest.ljust(9, "0")[:9] or 0)
                    break
    return found


def from_umoci(name, layout, scratch):
    expected = unpack_by_umoci(layout, "latest", scratch)
    expected[b""] = expected[b""].but(mtime=root_entry(layout, "latest"))
    return TestImage(name, f"oci:{layout}:latest", expected)


def from_tars(name, layers, directory, compression="gzip"):
    """An image of tars.Tar layers in a new layout directory/source."""
    oci_layout.LayoutBuilder(directory / "source").image(layers, compression=compression)
    expected, digest = model.expected(layers)
    return TestImage(name, f"oci:{directory}/source:latest", expected, digest)


def convert(tarn, image, directory, *options):
    image.directory = Path(directory)
    image.converted = f"oci:{directory}/converted:latest"
    tarn("convert", *options, image.source, image.converted)
    return image


def entries_by_blobs(read):
    """The tree of a reader.Image as trees.scan() would find it, with the bytes from the blobs."""
    return entries(read.root, lambda inode: inode.content.size, read.pieces_by_blobs)


def entries_by_bootstrap(read):
    """The same, all from the bootstrap and its tables."""
    files = read.bootstrap.erofs.files
    return entries(read.bootstrap.erofs.root, lambda inode: files[inode].size,
                   read.pieces_by_bootstrap, files.__contains__)


def entries(root, size_of, pieces_of, is_file=lambda inode: inode.content is not None):
    links, found, first, digests = tree.link_counts(root), {}, {}, {}
    for names, inode in tree.walk(root):
        path = b"/".join(names)
        entry = found[path] = trees.Entry(
            inode.mode, inode.uid, inode.gid, inode.mtime * 10**9 + inode.nsec,
            nlink=0 if inode.is_dir else links[inode], xattrs=inode.xattrs,
            first=path if inode.is_dir else first.setdefault(inode, path),
            device=(inode.device >> 32, inode.device & 0xFFFFFFFF))
        if is_file(inode):
            entry.size = size_of(inode)
            if inode not in digests:
                digests[inode] = hash_pieces(entry.size, pieces_of(inode))
            entry.sha256 = digests[inode]
        elif inode.target is not None:
            entry.size, entry.target = len(inode.target), inode.target
    return found


def hash_pieces(size, pieces):
    """SHA-256 of a file given as (offset, bytes) in order, zeros between."""
    whole, end, zeros = hashlib.sha256(), 0, bytes(1 << 20)
    for offset, data in [*pieces, (size, b"")]:
        while end < offset:
            step = min(len(zeros), offset - end)
            whole.update(zeros[:step])
            end += step
        whole.update(data)
        end += len(data)
    return whole.hexdigest()


def lab_layout(name):
    """Path of the lab image's layout; makes it when it is missing."""
    given = os.environ.get("TARN_LAB_IMAGES")
    if given:
        return Path(given) / name
    lab = environment.SOURCE / "build" / "lab"
    subprocess.run([environment.SOURCE / "scripts" / "lab-images", lab], check=True)
    return lab / name


def corner(directory):
    return from_tars("corner", corner_cases.layers(), directory)


def file_digests(directory):
    """{file below directory: SHA-256}."""
    found = {}
    for path in sorted(Path(directory).rglob("*")):
        if path.is_file():
            found[str(path.relative_to(directory))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def copy_layout(source, target):
    shutil.copytree(source, target)
    return target


def gunzip(path):
    return zlib.decompress(Path(path).read_bytes(), 31)
