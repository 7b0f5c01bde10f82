# SPDX-License-Identifier: Apache-2.0
"""Makes a bootstrap again from the layer metadata of a chain and its blobs' descriptors."""
import struct
from dataclasses import replace

from . import tables, tree
from .merge import merge
from .mkerofs import Writer
from .sections import BLOCK, build


def pointed_into(root):
    """Chain indexes that files of the merged tree have data in."""
    return sorted({inode.content.holder for _, inode in tree.walk(root)
                   if inode.content is not None and inode.content.data_length()})


def foreign_rows(pieces):
    """Rows of one foreign blob from several layers -> its rows in the bootstrap."""
    known = {row.address: row for rows in pieces for row in rows if row.kind != "gap"}
    out, end = [], None
    for address in sorted(known):
        if end not in (None, address):
            out.append(tables.Row("gap", end, address - end, bytes(32)))
        out.append(known[address])
        end = known[address].end
    return out + [tables.Row("gap", end, 0, bytes(32))]


def blob_records(layers, chain):
    """chain: the blobs' own records with digest, size and metadata fields set."""
    foreign = {}
    for layer in layers:
        for blob in layer.foreign:
            foreign.setdefault(blob.digest, []).append(blob)
    place = {digest: len(chain) + i for i, digest in enumerate(foreign)}
    out = []
    for layer, blob in zip(layers, chain, strict=True):
        indexes = {i: i for i in range(layer.index + 1)}
        indexes |= {layer.index + 1 + i: place[b.digest] for i, b in enumerate(layer.foreign)}
        out.append(replace(blob, rows=layer.own.rows).renumbered(indexes))
    for blobs in foreign.values():
        out.append(replace(blobs[0], rows=foreign_rows([b.rows for b in blobs])))
    return out


def bootstrap(layers, chain):
    """-> (bytes, merged root)"""
    root = merge(layers)
    digest = tree.digest(root)
    blobs = blob_records(layers, chain)
    slots = {}
    for slot, index in enumerate(pointed_into(root), 1):
        blobs[index].slot = slot
        slots[index] = slot, blobs[index].digest.hex(), blobs[index].space // BLOCK
    names, inodes = 0, set()
    for _, inode in tree.walk(root):
        names += 1
        inodes.add(inode)
    total = sum(i.content.size for i in inodes if i.content is not None)
    image = struct.pack("<10IQQQ32s32x", *tables.FIXED, len(chain), len(blobs), len(slots),
                        len(inodes), names - 1, total, digest)
    erofs = Writer(root, slots, digest).image()
    return build(b"TARNBOOT", [erofs, image, *tables.encode(blobs)], None), root
