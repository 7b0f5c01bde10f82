# SPDX-License-Identifier: Apache-2.0
"""Section directories (format.md, section 2) and numbers out of bytes."""
import struct
from dataclasses import dataclass

import xxhash
import zstandard

BLOCK = 4096
VERSION = 1
TRAILER = 64
ENTRY = 32
REQUIRED, ZSTD = 1, 2
METADATA_FREE, METADATA_RATIO = 256 << 20, 1024  # what a layer metadata may cost

CHUNKS, METADATA = 0x0001, 0x0002
LAYER, BLOBS, INODES, NAMES, NAME_BYTES, TARGETS = 0x0101, 0x0102, 0x0103, 0x0104, 0x0105, 0x0106
XATTRS, CONTENTS, UNITS, ADDRESSES, LOCATIONS, DIGESTS = (
    0x0107, 0x0108, 0x0109, 0x010A, 0x010B, 0x010C)
EROFS, IMAGE = 0x0201, 0x0202

# magic -> [(type, flags without "required")], in the order in which they stand
FORMS = {
    b"TARNBLOB": [(CHUNKS, 0), (METADATA, 0)],
    b"TARNMETA": [
        (LAYER, 0), (BLOBS, ZSTD), (INODES, ZSTD | 64 << 8), (NAMES, ZSTD | 12 << 8),
        (NAME_BYTES, ZSTD), (TARGETS, ZSTD), (XATTRS, ZSTD), (CONTENTS, ZSTD | 64 << 8),
        (UNITS, ZSTD | 8 << 8), (ADDRESSES, ZSTD | 8 << 8), (LOCATIONS, ZSTD | 8 << 8),
        (DIGESTS, 0)],
    b"TARNBOOT": [
        (EROFS, 0), (IMAGE, 0), (BLOBS, 0), (ADDRESSES, 0), (LOCATIONS, 0), (DIGESTS, 0)],
}


class Broken(Exception):
    """The image breaks a rule of the format."""


def need(condition, rule, *args):
    if not condition:
        raise Broken(rule.format(*args))


def round_up(number, to):
    return -(-number // to) * to


def is_zero(data):
    return bytes(data).strip(b"\0") == b""


def xxh3(data):
    return xxhash.xxh3_64_intdigest(data)


def records(data, form, what):
    """Yields tuples of the struct form; data must be whole records."""
    step = struct.Struct("<" + form)
    need(len(data) % step.size == 0, "{}: {} bytes are no multiple of {}", what, len(data),
         step.size)
    return list(step.iter_unpack(data))


@dataclass
class Section:
    offset: int
    length: int
    flags: int
    stored: memoryview
    data: bytes  # after decompression and transposition


def decoded_length(stored, flags, what):
    """The content size of a frame, or the length of what is none."""
    if not flags & ZSTD:
        return len(stored)
    try:
        size = zstandard.get_frame_parameters(bytes(stored[:32])).content_size
    except zstandard.ZstdError as error:
        raise Broken(f"{what}: {error}") from error
    need(size not in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR),
         "{}: no content size", what)
    return size


def unzstd(stored, what, bound=1 << 32):
    """One frame with content size and without checksum, and nothing behind it."""
    try:
        frame = zstandard.get_frame_parameters(bytes(stored[:32]))
        need(frame.content_size not in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR),
             "{}: no content size", what)
        need(frame.content_size <= bound, "{}: content size {}", what, frame.content_size)
        need(not frame.has_checksum and frame.dict_id == 0, "{}: checksum or dictionary id", what)
        decoder = zstandard.ZstdDecompressor().decompressobj()
        data = decoder.decompress(bytes(stored))
    except zstandard.ZstdError as error:
        raise Broken(f"{what}: {error}") from error
    need(decoder.unused_data == b"" and len(data) == frame.content_size,
         "{}: not exactly one frame", what)
    return data


def untranspose(data, stride, what):
    need(len(data) % stride == 0, "{}: {} bytes are no multiple of {}", what, len(data), stride)
    count = len(data) // stride
    out = bytearray(len(data))
    for column in range(stride):
        out[column::stride] = data[column * count:(column + 1) * count]
    return bytes(out)


def transpose(data, stride):
    return b"".join(data[column::stride] for column in range(stride))


def decode(stored, flags, what):
    data = unzstd(stored, what) if flags & ZSTD else stored
    stride = flags >> 8 & 0xFF
    return untranspose(data, stride, what) if stride else data


def parse(view, magic, what):
    """Container -> {type: Section}. Checks the directory, every checksum and every gap."""
    need(len(view) >= TRAILER, "{}: shorter than a trailer", what)
    trailer = view[-TRAILER:]
    found, version, count, _compat, incompat, length = struct.unpack_from("<8sIIIIQ", trailer)
    need(found == magic, "{}: magic {} is not {}", what, found, magic)
    need(version == VERSION, "{}: format version {}", what, version)
    need(count <= 64, "{}: {} sections", what, count)
    need(incompat == 0, "{}: unknown incompat flags {:#x}", what, incompat)
    need(length == len(view), "{}: length {} is not {}", what, length, len(view))
    need(is_zero(trailer[32:56]), "{}: trailer bytes 32 to 55 are not zero", what)
    start = len(view) - TRAILER - count * ENTRY
    need(start >= 0, "{}: {} entries do not fit", what, count)
    sum_found = struct.unpack_from("<Q", trailer, 56)[0]
    need(xxh3(view[start:len(view) - 8]) == sum_found, "{}: checksum of the directory", what)

    sections, end, seen, cost = {}, 0, [], 0
    bound = METADATA_FREE + METADATA_RATIO * len(view) if magic == b"TARNMETA" else 1 << 64
    for i in range(count):
        kind, flags, offset, length, checksum = struct.unpack_from("<IIQQQ", view,
                                                                   start + i * ENTRY)
        name = f"{what}: section {kind:#06x}"
        need(flags & ~(REQUIRED | ZSTD | 0xFF00) == 0, "{}: flags {:#x}", name, flags)
        need(offset == round_up(end, 8), "{}: offset {} is not {}", name, offset, round_up(end, 8))
        need(offset + length <= start, "{}: end {} beyond {}", name, offset + length, start)
        need(is_zero(view[end:offset]), "{}: bytes before {} are not zero", name, offset)
        end = offset + length
        stored = view[offset:end]
        need(xxh3(stored) == checksum, "{}: checksum of bytes {} to {}", name, offset, end)
        need(kind not in sections, "{}: stands twice", name)
        known = dict(FORMS[magic]).get(kind)
        if known is None:
            need(not flags & REQUIRED, "{}: unknown and required", name)
            continue
        expected = REQUIRED | (known if length else 0)
        need(flags == expected, "{}: flags {:#x} are not {:#x}", name, flags, expected)
        decoded = decoded_length(stored, flags, name)
        cost += decoded + (decoded // 12 * 128 if kind == NAMES else 0)
        need(cost <= bound, "{}: costs {} with what stands before it", name, cost)
        sections[kind] = Section(offset, length, flags, stored, decode(stored, flags, name))
        seen.append(kind)
    need(seen == [kind for kind, _ in FORMS[magic]], "{}: sections {}", what,
         [hex(x) for x in seen])
    need(start == round_up(end, 8) and is_zero(view[end:start]),
         "{}: bytes {} to {} before the directory", what, end, start)
    return sections


def build(magic, stored, encode):
    """[bytes before compression], in the order of FORMS -> container. encode makes a zstd frame."""
    out, entries = bytearray(), bytearray()
    for (kind, form), data in zip(FORMS[magic], stored, strict=True):
        flags = REQUIRED
        if data:
            flags |= form
            data = transpose(data, form >> 8) if form >> 8 else data
            data = encode(data) if form & ZSTD else data
        out += bytes(-len(out) % 8)
        entries += struct.pack("<IIQQQ", kind, flags, len(out), len(data), xxh3(data))
        out += data
    out += bytes(-len(out) % 8) + entries
    trailer = struct.pack("<8sIIIIQ24x", magic, VERSION, len(stored), 0, 0, len(out) + TRAILER)
    return bytes(out) + trailer + struct.pack("<Q", xxh3(bytes(entries) + trailer))
