# SPDX-License-Identifier: Apache-2.0
"""What others ship, computed: whole gzip layers, and fixed chunks of 1 MiB for each file, each one a
zstd frame of its own, each content once over all layers."""
import ctypes
import ctypes.util
import hashlib
import tarfile
from concurrent.futures import ThreadPoolExecutor

from bench_run import Failure

CHUNK, ROW, LEVEL = 1 << 20, 48, 3


def _zstd():
    name = ctypes.util.find_library("zstd")
    if not name:
        raise Failure("libzstd is missing")
    library = ctypes.CDLL(name)
    for function in ("ZSTD_compress", "ZSTD_compressBound"):
        getattr(library, function).restype = ctypes.c_size_t
    library.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
    library.ZSTD_compress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p,
                                      ctypes.c_size_t, ctypes.c_int]
    library.ZSTD_isError.argtypes = [ctypes.c_size_t]
    return library


ZSTD = _zstd()


def _compressed(data):
    room = ZSTD.ZSTD_compressBound(len(data))
    size = ZSTD.ZSTD_compress(ctypes.create_string_buffer(room), room, data, len(data), LEVEL)
    if ZSTD.ZSTD_isError(size):
        raise Failure("libzstd does not compress")
    return min(size, len(data))


def _pieces(path):
    with tarfile.open(path, "r:*") as tar:
        for member in tar:
            if not member.isreg():
                continue
            file = tar.extractfile(member)
            while data := file.read(CHUNK):
                yield data


def chunks(image, known):
    """{digest: (length, compressed length)} of an image's distinct chunks. known: those of another
    image, which are not compressed again."""
    found = {}
    with ThreadPoolExecutor(2) as pool:
        for path in image.layers():
            for data in _pieces(path):
                digest = hashlib.sha256(data).digest()
                if digest in found:
                    continue
                if digest in known:
                    found[digest] = known[digest]
                    continue
                found[digest] = (len(data), pool.submit(_compressed, data))
    return {digest: (length, size if isinstance(size, int) else size.result())
            for digest, (length, size) in found.items()}


def _page_kb(parts):
    """Mean compressed size of the part that a page lies in. parts: [(length, compressed)]."""
    total = sum(length for length, _ in parts)
    return sum(length * size for length, size in parts) / max(total, 1) / 1e3


def by_chunks(first, second):
    old = chunks(first, {})
    new = chunks(second, old)
    return {"first MB": sum(size for _, size in old.values()) / 1e6,
            "update MB": sum(size for digest, (_, size) in new.items() if digest not in old) / 1e6,
            "table kB": ROW * len(new) / 1e3, "page kB": _page_kb(new.values())}


def _uncompressed(path):
    with tarfile.open(path, "r:*") as tar:
        return sum(member.size for member in tar if member.isreg())


def by_layers(first, second):
    old = {layer["digest"] for layer in first.manifest()["layers"]}
    layers = second.manifest()["layers"]
    return {"first MB": first.size() / 1e6,
            "update MB": sum(la["size"] for la in layers if la["digest"] not in old) / 1e6,
            "table kB": 0.0,
            "page kB": _page_kb([(_uncompressed(second.blob(la["digest"])), la["size"])
                                 for la in layers])}
