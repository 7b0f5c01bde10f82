# SPDX-License-Identifier: Apache-2.0
"""An image, read from its blobs and from its bootstrap."""
import hashlib
import os
import struct
import tempfile
from bisect import bisect_right

from . import chunks, erofs, metadata, oci, rebuild, tables, tree
from . import sections as s
from .sections import need


class BlobFile:
    """A blob with its directory and layer metadata."""

    def __init__(self, layout, layer, verify=True):
        self.layer, self.what = layer, "blob " + layer.digest[7:19]
        self.view = layout.map(layer.descriptor, verify)
        parts = s.parse(self.view, b"TARNBLOB", self.what)
        meta = parts[s.METADATA]
        place = meta.offset, meta.length, "sha256:" + hashlib.sha256(meta.stored).hexdigest()
        need(place == layer.meta, "{}: metadata at {}, the manifest says {}", self.what, place,
             layer.meta)
        need(parts[s.CHUNKS].offset == 0, "{}: chunks section", self.what)
        self.meta = metadata.parse(meta.stored, f"{self.what}: metadata")
        need(self.meta.chunks_length == parts[s.CHUNKS].length, "{}: chunks section is {}, not {}",
             self.what, parts[s.CHUNKS].length, self.meta.chunks_length)
        self.record = tables.Blob(bytes.fromhex(layer.digest[7:]), layer.size, self.meta.space,
                                  *place[:2], bytes.fromhex(place[2][7:]), rows=self.meta.own.rows)


class Spaces:
    """Whole data spaces in temporary files, made from the blobs in order."""

    def __init__(self, image):
        self.files = []
        for index, blob in enumerate(image.blobs):
            file = tempfile.TemporaryFile()
            self.files.append(file)
            self.fill(image, index, blob, file)

    def fill(self, image, index, blob, file):
        run_start = 0
        for number, row in enumerate(blob.meta.own.rows[:-1]):
            where = f"{blob.what}: row {number}"
            if row.kind == "reference":
                if row.blob <= index:
                    data = self.read(row.blob, row.target, row.length)
                else:
                    data = image.foreign_chunk(blob.meta.blobs[row.blob], row.target, where)
                need(hashlib.sha256(data).digest() == row.digest and len(data) == row.length,
                     "{}: the reference's bytes are others", where)
            else:
                run_start = row.address if row.first else run_start
                start = chunks.prefix_start(run_start, row.address)
                prefix = self.read(index, start, row.address - start)
                stored = blob.view[row.offset:row.offset + row.size]
                data = chunks.decode(row, stored, prefix, where)
            os.pwrite(file.fileno(), data, row.address)

    def read(self, index, address, length):
        data = os.pread(self.files[index].fileno(), length, address)
        need(len(data) == length, "data space {}: ends before {}+{}", index, address, length)
        return data


class Runs:
    """Random access by a table: decodes from the start of a run, keeps what it decoded."""

    def __init__(self, image, blobs):
        self.image, self.blobs = image, blobs
        self.places = [{row.address: i for i, row in enumerate(b.rows)} for b in blobs]
        self.cache = {}

    def chunk(self, index, number):
        if (index, number) in self.cache:
            return self.cache[index, number]
        blob = self.blobs[index]
        row, where = blob.rows[number], f"bootstrap: blob {index}: row {number}"
        need(row.kind != "gap", "{}: a gap", where)
        if row.kind == "reference":
            need(row.blob < len(self.blobs), "{}: blob {}", where, row.blob)
            holder = self.places[row.blob].get(row.target)
            need(holder is not None, "{}: names no row", where)
            named = self.blobs[row.blob].rows[holder]
            need(named.kind == "stored", "{}: names a reference", where)
            need((named.length, named.digest) == (row.length, row.digest),
                 "{}: names another chunk", where)
            return self.chunk(row.blob, holder)
        if len(self.cache) > 1000:
            self.cache.clear()
        first = number
        while not blob.rows[first].first:
            first -= 1
        run = b""
        for i in range(first, number + 1):
            row = blob.rows[i]
            stored = self.image.stored(blob.digest)[row.offset:row.offset + row.size]
            data = chunks.decode(row, stored, run[-tables.PREFIX:], f"bootstrap: blob {index}: "
                                 f"row {i}")
            self.cache[index, i] = data
            run += data
        return data

    def read(self, index, address, length):
        blob, out, end = self.blobs[index], [], address + length
        number = bisect_right(blob.rows, address, key=lambda row: row.address) - 1
        while address < end:
            row, data = blob.rows[number], self.chunk(index, number)
            piece = data[address - row.address:end - row.address]
            out.append(piece)
            address += len(piece)
            number += 1
        return b"".join(out)


class Bootstrap:
    def __init__(self, data, what="bootstrap"):
        self.data = memoryview(data)
        parts = s.parse(self.data, b"TARNBOOT", what)
        image = parts[s.IMAGE].data
        need(len(image) == 128, "{}: image section", what)
        (*fixed, self.chain, blobs, slots, inodes, names, size, self.tree_digest, zero) = \
            struct.unpack("<10IQQQ32s32s", image)
        need(tuple(fixed) == tables.FIXED and s.is_zero(zero), "{}: image section", what)
        self.blobs = tables.parse(parts, what)
        self.erofs = erofs.Reader(parts[s.EROFS].stored)
        need((len(self.blobs), len(self.erofs.slots)) == (blobs, slots), "{}: counts", what)
        found = sum(1 for _ in tree.walk(self.erofs.root)) - 1
        total = sum(file.size for file in self.erofs.files.values())
        need((len(self.erofs.nids), found, total) == (inodes, names, size), "{}: counts", what)
        need(self.erofs.uuid == self.tree_digest[:16], "{}: uuid", what)
        self.by_slot = {}
        for index, blob in enumerate(self.blobs):
            where = f"{what}: blob {index}"
            need(blob.role == (index >= self.chain), "{}: role", where)
            if blob.role == tables.FOREIGN:
                tables.check_known(blob, where)
            else:
                tables.check_whole(blob, index, where)
            if blob.slot:
                need(blob.slot == len(self.by_slot) + 1 and not blob.role, "{}: slot", where)
                need(self.erofs.slots[blob.slot - 1] == (blob.digest.hex(), blob.space // s.BLOCK),
                     "{}: device slot", where)
                self.by_slot[blob.slot] = index
        need(len(self.by_slot) == slots, "{}: {} slots are given", what, len(self.by_slot))


class Image:
    """layers: from the blobs. bootstrap: from the bootstrap. root: merged from the layers."""

    def __init__(self, name, platform=None, verify=True):
        path, tag = oci.parse_name(name)
        self.layout = oci.Layout(path)
        self.descriptor, self.entry = self.layout.tarn(tag, platform)
        self.manifest = oci.parse_manifest(self.layout, self.descriptor)
        self.blobs = [BlobFile(self.layout, layer, verify) for layer in self.manifest.chain]
        self.foreign = {bytes.fromhex(layer.digest[7:]): BlobFile(self.layout, layer, verify)
                        for layer in self.manifest.foreign}
        for index, blob in enumerate(self.blobs):
            need(blob.meta.index == index, "{}: chain index {}", blob.what, blob.meta.index)
        self.layers = [blob.meta for blob in self.blobs]
        self.bootstrap_bytes = oci.read_bootstrap(self.layout, self.manifest)
        self.bootstrap = Bootstrap(self.bootstrap_bytes)
        self.made, self.root = rebuild.bootstrap(self.layers, [b.record for b in self.blobs])
        self.by_table = Runs(self, self.bootstrap.blobs)
        self._spaces = None
        self._foreign_runs = {}

    @property
    def spaces(self):
        if self._spaces is None:
            self._spaces = Spaces(self)
        return self._spaces

    def stored(self, digest):
        """The bytes of a blob by its raw digest."""
        for blob in (*self.blobs, *self.foreign.values()):
            if blob.record.digest == digest:
                return blob.view
        raise s.Broken(f"no layer is blob {digest.hex()}")

    def foreign_chunk(self, record, address, where):
        """One chunk of a foreign blob by the rows that a layer's metadata holds of it."""
        runs = self._foreign_runs.setdefault(id(record), Runs(self, [record]))
        number = runs.places[0].get(address)
        need(number is not None, "{}: names no known row", where)
        return runs.chunk(0, number)

    def pieces_by_blobs(self, inode):
        """Yields (offset, bytes) of a file of the merged tree, unit by unit if it has holes."""
        content = inode.content
        step = content.unit if content.kind == tree.UNITS else 1 << 20
        for offset, at, length in content.pieces():
            for i in range(0, length, step):
                yield offset + i, self.spaces.read(content.holder, content.address + at + i,
                                                   min(step, length - i))

    def pieces_by_bootstrap(self, inode):
        """The same for a file of the EROFS image."""
        for offset, slot, address, length in self.bootstrap.erofs.files[inode].pieces():
            index = self.bootstrap.by_slot[slot]
            step = 1 << 18
            for i in range(0, length, step):
                yield offset + i, self.by_table.read(index, address + i, min(step, length - i))
