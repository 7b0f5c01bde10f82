# SPDX-License-Identifier: Apache-2.0
"""Chunker, decoding and encoding (format.md, sections 4 and 5). Slow: for small data."""
import ctypes
import ctypes.util
import functools
import hashlib
import struct

import zstandard

from . import matches
from .sections import Broken, need
from .tables import AVG, MAX, MIN, PREFIX

MASK = (1 << 64) - 1


@functools.cache
def gear():
    return [struct.unpack("<Q", hashlib.sha256(b"tarn gear 1" + bytes([i])).digest()[:8])[0]
            for i in range(256)]


def cut(data, start, end):
    """The end of the chunk that starts at start; the data space ends at end."""
    left = end - start
    if left <= MIN:
        return end
    table, h, stop = gear(), 0, start + min(MAX, left)
    for first, last, bits in ((MIN, AVG, 17), (AVG, MAX, 13)):
        limit = 1 << 64 - bits
        for i in range(start + first, min(start + last, stop)):
            h = (h << 1) + table[data[i]] & MASK
            if h < limit:
                return i + 1
    return stop


def cuts(data):
    """Yields (start, end) of every chunk."""
    start = 0
    while start < len(data):
        end = cut(data, start, len(data))
        yield start, end
        start = end


def decode(row, stored, prefix, where):
    """The bytes of one stored chunk, checked."""
    if row.raw:
        data = bytes(stored)
    else:
        try:
            frame = zstandard.get_frame_parameters(bytes(stored[:18]))
            need(frame.content_size == row.length, "{}: frame of {} bytes for {}", where,
                 frame.content_size, row.length)
            need(not frame.has_checksum and frame.dict_id == 0,
                 "{}: checksum or dictionary id", where)
            dictionary = None
            if prefix:
                dictionary = zstandard.ZstdCompressionDict(
                    bytes(prefix), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
            decoder = zstandard.ZstdDecompressor(dict_data=dictionary).decompressobj()
            data = decoder.decompress(bytes(stored))
            need(decoder.unused_data == b"", "{}: bytes behind the frame", where)
        except zstandard.ZstdError as error:
            raise Broken(f"{where}: {error}") from error
    need(len(data) == row.length, "{}: {} bytes, not {}", where, len(data), row.length)
    need(hashlib.sha256(data).digest() == row.digest, "{}: wrong SHA-256", where)
    return data


class Encoder:
    """Section 5's way to make a frame, on the system's libzstd."""

    # of zstd.h
    LEVEL, CONTENT_SIZE_FLAG, CHECKSUM_FLAG, SESSION_AND_PARAMETERS = 100, 200, 201, 3
    # windowLog, hashLog, chainLog, minMatch, strategy, blockDelimiters, searchForExternalRepcodes
    OWN = ((101, 17), (102, 6), (103, 6), (105, 3), (107, 2), (1008, 1), (1016, 1))

    def __init__(self):
        lib = ctypes.CDLL("libzstd.so.1")
        lib.ZSTD_createCCtx.restype = ctypes.c_void_p
        for name in ("ZSTD_compressBound", "ZSTD_compress2", "ZSTD_CCtx_setParameter",
                     "ZSTD_CCtx_reset", "ZSTD_CCtx_setPledgedSrcSize", "ZSTD_CCtx_refPrefix",
                     "ZSTD_compressSequences"):
            getattr(lib, name).restype = ctypes.c_size_t
        self.lib = lib
        self.version = lib.ZSTD_versionNumber()
        self.context = ctypes.c_void_p(lib.ZSTD_createCCtx())
        self.finder = self.run = None

    def done(self, code):
        assert not self.lib.ZSTD_isError(ctypes.c_size_t(code))
        return code

    def prepare(self, level, others=()):
        self.done(self.lib.ZSTD_CCtx_reset(self.context, self.SESSION_AND_PARAMETERS))
        for key, value in ((self.LEVEL, level), *others, (self.CHECKSUM_FLAG, 0),
                           (self.CONTENT_SIZE_FLAG, 1)):
            self.done(self.lib.ZSTD_CCtx_setParameter(self.context, key, value))

    def room(self, length):
        bound = self.lib.ZSTD_compressBound(ctypes.c_size_t(length))
        return ctypes.create_string_buffer(bound), ctypes.c_size_t(bound)

    def frame(self, data, level, prefix=b""):
        lib, context = self.lib, self.context
        joined = ctypes.create_string_buffer(bytes(prefix) + bytes(data), len(prefix) + len(data))
        base = ctypes.addressof(joined)
        self.prepare(level)
        self.done(lib.ZSTD_CCtx_setPledgedSrcSize(context, ctypes.c_ulonglong(len(data))))
        if prefix:
            self.done(lib.ZSTD_CCtx_refPrefix(context, ctypes.c_void_p(base),
                                              ctypes.c_size_t(len(prefix))))
        out, bound = self.room(len(data))
        size = self.done(lib.ZSTD_compress2(
            context, out, bound, ctypes.c_void_p(base + len(prefix)),
            ctypes.c_size_t(len(data))))
        return out.raw[:size]

    def frame_of_matches(self, data, found):
        self.prepare(3, self.OWN)
        sequences = b"".join(struct.pack("<4I", offset, literals, length, 0)
                             for literals, length, offset in found)
        out, bound = self.room(len(data))
        size = self.done(self.lib.ZSTD_compressSequences(
            self.context, out, bound, sequences, ctypes.c_size_t(len(found)), data,
            ctypes.c_size_t(len(data))))
        return out.raw[:size]

    def start_run(self):
        self.finder, self.run = matches.Finder(), bytearray()

    def chunk(self, data, level):
        """The run's next chunk: (stored bytes, raw)"""
        data = bytes(data)
        if level == 3:
            frame = self.frame_of_matches(data, self.finder.chunk(data))
        else:
            frame = self.frame(data, level, bytes(self.run[-PREFIX:]))
        self.run += data
        return (frame, False) if len(frame) < len(data) else (data, True)


def prefix_start(run_start, address):
    return max(run_start, address - PREFIX)
