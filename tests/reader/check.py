# SPDX-License-Identifier: Apache-2.0
"""Checks every rule of the format on an image, its data included."""
import hashlib
import stat

from . import chunks, tables, tree
from . import sections as s
from .metadata import IMPLICIT
from .sections import need

CHUNKER_BYTES = 16 << 20  # of each blob; the chunker is slow here


def bootstrap_bytes(image):
    """The bootstrap is what its chain's layer metadata make."""
    made, found = image.made, image.bootstrap_bytes
    if made != found:
        at = next((i for i, (a, b) in enumerate(zip(made, found)) if a != b),
                  min(len(made), len(found)))
        raise s.Broken(f"bootstrap: {len(found)} bytes, made again {len(made)}, first difference "
                       f"at {at}")


def tree_digests(image):
    digest = tree.digest(image.root)
    need(image.bootstrap.tree_digest == digest, "tree digest: the bootstrap says another")
    need(image.manifest.tree_digest == "sha256:" + digest.hex(), "tree digest: manifest")


def lower_records(image):
    """Each layer's records of the lower blobs, and foreign ones, are those of the manifest."""
    for blob in image.blobs:
        for index, found in enumerate(blob.meta.blobs):
            if index < blob.meta.index:
                known = image.blobs[index].record
            elif index > blob.meta.index:
                need(found.digest in image.foreign, "{}: foreign blob is no layer", blob.what)
                known = image.foreign[found.digest].record
            else:
                continue
            for name in ("digest", "size", "space", "meta_offset", "meta_length", "meta_digest"):
                need(getattr(found, name) == getattr(known, name), "{}: record {}: {}", blob.what,
                     index, name)
    named = {r.digest for b in image.blobs for r in b.meta.foreign}
    need(named == set(image.foreign), "manifest: a dict layer that nothing refers to")


def contents(image):
    """Contents point to the data space that has them, lowest first; digests are right."""
    holders = {}
    for blob in image.blobs:
        for number, content in enumerate(blob.meta.contents, 1):
            where = f"{blob.what}: content {number}"
            if content.data_length():
                held = holders.setdefault(content.identity, content)
                need(content == held, "{}: not the place that the chain has", where)
                need(content.holder == blob.meta.index or held is not content,
                     "{}: holder {} does not have it", where, content.holder)
            check_content(image, content, where)


def check_content(image, content, where):
    fake = tree.Inode(stat.S_IFREG, content=content)
    pieces = image.pieces_by_blobs(fake)
    if content.kind == tree.PLAIN:
        pieces = list(pieces)
        unit = content.unit
        if content.size >= unit:
            whole = b"".join(data for _, data in pieces)
            holes = any(s.is_zero(whole[i:i + unit]) for i in range(0, len(whole), unit))
        else:
            holes = content.size and s.is_zero(b"".join(data for _, data in pieces))
        need(not holes, "{}: plain with a hole", where)
    else:
        pieces = list(pieces)
        for offset, data in pieces:
            need(not s.is_zero(data), "{}: zeros at {} are no hole", where, offset)
    need(tree.identify(content.kind, content.size, pieces) == content.digest, "{}: wrong digest",
         where)
    if content.data_length():
        end = content.address + content.data_length()
        rest = image.spaces.read(content.holder, end, -end % s.BLOCK)
        need(s.is_zero(rest), "{}: padding", where)


def stored_or_not(image):
    """Section 5: what is stored and what refers where."""
    holders = {}
    for index, blob in enumerate(image.blobs):
        order = []
        for number, row in enumerate(blob.meta.own.rows[:-1]):
            where = f"{blob.what}: row {number}"
            held = holders.get(row.digest)
            if row.kind == "stored":
                need(held is None, "{}: stored though a chunk at {} has these bytes", where, held)
                holders[row.digest] = index, row.address
            elif row.blob <= index:
                need(held == (row.blob, row.target), "{}: refers to {}, not to {}", where,
                     (row.blob, row.target), held)
            else:
                need(held is None, "{}: refers to a foreign blob, not to {}", where, held)
                order += [] if row.blob in order else [row.blob]
        expected = list(range(index + 1, len(blob.meta.blobs)))
        need(order == expected, "{}: foreign blobs are not in order of first reference", blob.what)


def foreign_rows(image):
    """Known rows of a foreign blob run from a run's start through a referenced chunk."""
    for blob in image.blobs:
        for index, record in enumerate(blob.meta.foreign, blob.meta.index + 1):
            targets = {r.target for r in blob.meta.own.rows
                       if r.kind == "reference" and r.blob == index}
            whole = image.foreign[record.digest].meta.own.rows
            expected, run = set(), []
            for row in whole[:-1]:
                if row.kind == "reference":
                    continue
                run = [row] if row.first else run + [row]
                if row.address in targets:
                    expected |= set(run)
            found = {row for row in record.rows if row.kind != "gap"}
            need(found == expected, "{}: rows of foreign blob {}", blob.what, index)


def cut_points(image, limit):
    for index, blob in enumerate(image.blobs):
        left = limit
        for number, row in enumerate(blob.meta.own.rows[:-1]):
            left -= row.length
            if left < 0:
                break
            data = image.spaces.read(index, row.address,
                                     min(tables.MAX, blob.meta.space - row.address))
            end = chunks.cut(data, 0, len(data))
            need(end == row.length, "{}: row {}: {} bytes, the chunker cuts at {}", blob.what,
                 number, row.length, end)


def encoded(image, limit):
    """Frames and compressed sections are what section 5 and 2 make, if libzstd is the same."""
    encoder = chunks.Encoder()
    for index, blob in enumerate(image.blobs):
        meta = blob.meta
        if meta.libzstd != encoder.version:
            continue
        for number, row in enumerate(meta.own.rows[:-1]):
            if row.kind != "stored" or row.offset > (limit // 32 if meta.level == 3 else 4 * limit):
                continue
            if row.first:
                encoder.start_run()
            data = image.spaces.read(index, row.address, row.end - row.address)
            found = bytes(blob.view[row.offset:row.offset + row.size])
            need(encoder.chunk(data, meta.level) == (found, row.raw),
                 "{}: row {}: encoded otherwise", blob.what, number)
        order = [meta.sections[kind].data for kind, _ in s.FORMS[b"TARNMETA"]]
        offset, length, _ = blob.layer.meta
        made = s.build(b"TARNMETA", [bytes(d) for d in order], lambda d: encoder.frame(d, 9))
        need(made == bytes(blob.view[offset:offset + length]), "{}: metadata encoded otherwise",
             blob.what)


def both_ways(image):
    """The tree of the blobs and the tree of the bootstrap: names, attributes and bytes."""
    ours, theirs = tree.walk(image.root), tree.walk(image.bootstrap.erofs.root)
    pairs, done = {}, set()
    for (path, one), (other_path, two) in zip(ours, theirs, strict=True):
        where = b"/".join(path)
        need(path == other_path, "both ways: {!r} and {!r}", where, b"/".join(other_path))
        need(pairs.setdefault(one, two) is two, "both ways: {!r}: hard links", where)
        for name in ("mode", "uid", "gid", "mtime", "nsec", "xattrs", "device", "target"):
            need(getattr(one, name) == getattr(two, name), "both ways: {!r}: {}: {} and {}", where,
                 name, getattr(one, name), getattr(two, name))
        if one.content is not None and one not in done:
            done.add(one)
            need(one.content.size == image.bootstrap.erofs.files[two].size, "both ways: {!r}: size",
                 where)
            first, second = (joined(f) for f in (image.pieces_by_blobs(one),
                                                 image.pieces_by_bootstrap(two)))
            need(first == second, "both ways: {!r}: other bytes", where)


def joined(pieces):
    """Holes and data as one digest: zeros between pieces do not count, their places do."""
    whole, end = hashlib.sha256(), None
    for offset, data in pieces:
        if offset != end:
            whole.update(b"at %d" % offset)
        whole.update(data)
        end = offset + len(data)
    return whole.digest()


def implicit_used(image):
    """An implicit directory is there for something below it."""
    for blob in image.blobs:
        parents = {n.parent for n in blob.meta.names[1:]}
        for number, name in enumerate(blob.meta.names[1:], 1):
            need(not name.flags & IMPLICIT or number in parents or name.flags & 2,
                 "{}: name {}: an implicit directory without names below", blob.what, number)


CHECKS = (lower_records, stored_or_not, foreign_rows, implicit_used, tree_digests, bootstrap_bytes,
          contents, both_ways)


def check(image, limit=CHUNKER_BYTES):
    """Raises Broken at the first broken rule. Only so many bytes of each blob are chunked and
    encoded again, which is slow here."""
    for one in CHECKS:
        one(image)
    cut_points(image, limit)
    encoded(image, limit)
