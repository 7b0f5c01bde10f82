# SPDX-License-Identifier: Apache-2.0
"""Damages converted images and seals them again: every digest is right, only the rule that is to be
tested is broken. So it is the rule that must refuse the image, not a checksum."""
import hashlib
import io
import json
import struct
import tarfile

import oci_layout
import zstandard
from reader import check, oci, sections
from reader import image as reader_image
from reader.chunks import Encoder
from reader.erofs import crc32c

TAG = "forged"


class Forge:
    """One converted image taken apart. Change .blobs (bytearrays), .bootstrap, .manifest, .config,
    then save()."""

    def __init__(self, name, target):
        read = reader_image.Image(name)
        self.blobs = [bytearray(blob.view) for blob in read.blobs]
        self.metas = [blob.layer.meta for blob in read.blobs]
        self.bootstrap = bytearray(read.bootstrap_bytes)
        self.manifest = json.loads(bytes(read.layout.map(read.descriptor)))
        self.config = read.layout.json(self.manifest["config"])
        self.target = target
        self.encoder = Encoder()
        self.finish = lambda forge: None  # called when all but the manifest is written
        self.pack = self.pack_bootstrap
        self.encode_manifest = oci.compact

    # Containers: parse, change a section, build again.

    def sections(self, data, magic):
        """[bytes of each section, before compression], in order."""
        parts = sections.parse(memoryview(bytes(data)), magic, "forge")
        return [bytearray(parts[kind].data) for kind, _ in sections.FORMS[magic]]

    def build(self, magic, parts):
        return sections.build(magic, [bytes(p) for p in parts],
                              lambda data: self.encoder.frame(data, 9))

    def edit_metadata(self, layer, change):
        """change(parts): the sections of a layer's metadata, by position in sections.FORMS."""
        offset, length, _ = self.metas[layer]
        parts = self.sections(self.blobs[layer][offset:offset + length], b"TARNMETA")
        change(parts)
        self.set_metadata(layer, self.build(b"TARNMETA", parts))

    def set_metadata(self, layer, data):
        """Puts a whole new layer metadata into the blob, and its digest into all records."""
        offset, length, _ = self.metas[layer]
        chunks = bytes(self.blobs[layer][:offset])
        old = sections.parse(memoryview(bytes(self.blobs[layer])), b"TARNBLOB", "forge")
        chunks = chunks[:old[sections.CHUNKS].length]
        self.blobs[layer] = bytearray(sections.build(b"TARNBLOB", [chunks, bytes(data)], None))
        digest = hashlib.sha256(data).digest()
        self.metas[layer] = offset, len(data), "sha256:" + digest.hex()

    def edit_bootstrap(self, change):
        """change(parts): EROFS image, image, blobs, addresses, locations, digests."""
        parts = self.sections(self.bootstrap, b"TARNBOOT")
        change(parts)
        self.bootstrap = bytearray(self.build(b"TARNBOOT", parts))

    @staticmethod
    def seal_directory(data, start, magic):
        """Makes the checksums of a container that starts at `start` and ends with data right."""
        trailer = len(data) - sections.TRAILER
        count = struct.unpack_from("<I", data, trailer + 12)[0]
        first = trailer - sections.ENTRY * count
        for i in range(count):
            at = first + sections.ENTRY * i
            offset, length = struct.unpack_from("<QQ", data, at + 8)
            if start + offset + length <= first:
                body = bytes(data[start + offset:start + offset + length])
                struct.pack_into("<Q", data, at + 24, sections.xxh3(body))
        struct.pack_into("<Q", data, len(data) - 8, sections.xxh3(bytes(data[first:-8])))
        assert data[trailer:trailer + 8] == magic or magic is None

    @staticmethod
    def seal_erofs(image):
        image[1028:1032] = bytes(4)
        struct.pack_into("<I", image, 1028, crc32c(image[1024:4096]))

    # Saving.

    def point_to_blobs(self):
        """Blob and metadata digests into every later metadata and into the bootstrap."""
        digests = []
        for layer in range(len(self.blobs)):
            def lower(parts, layer=layer):
                for i in range(layer):
                    struct.pack_into("<32sQ", parts[1], 128 * i, digests[i],
                                     len(self.blobs[i]))
                    offset, length, meta = self.metas[i]
                    struct.pack_into("<QQ32s", parts[1], 128 * i + 48, offset, length,
                                     bytes.fromhex(meta[7:]))
            if layer:
                self.edit_metadata(layer, lower)
            digests.append(hashlib.sha256(self.blobs[layer]).digest())

        def change(parts):
            image, blobs = parts[0], parts[2]
            for i, digest in enumerate(digests):
                offset, length, meta = self.metas[i]
                struct.pack_into("<32sQ", blobs, 128 * i, digest, len(self.blobs[i]))
                struct.pack_into("<QQ32s", blobs, 128 * i + 48, offset, length,
                                 bytes.fromhex(meta[7:]))
                slot = struct.unpack_from("<I", blobs, 128 * i + 112)[0]
                if slot:
                    at = 1152 + 128 * (slot - 1)
                    image[at:at + 64] = digest.hex().encode()
            self.seal_erofs(image)
        self.edit_bootstrap(change)

    @staticmethod
    def pack_bootstrap(bootstrap):
        """-> (the bootstrap's layer, its tar)"""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            member = tarfile.TarInfo("tarn/bootstrap")
            member.mode, member.size = 0o444, len(bootstrap)
            tar.addfile(member, io.BytesIO(bootstrap))
        data = archive.getvalue()[:512 + len(bootstrap) + -len(bootstrap) % 512 + 1024]
        return zstandard.ZstdCompressor().compress(data), data

    def save(self):
        """Writes a layout with this image alone -> its name."""
        layout = oci_layout.LayoutBuilder(self.target)
        layers = self.manifest["layers"]
        diff_ids = self.config["rootfs"]["diff_ids"]
        for i, blob in enumerate(self.blobs):
            made = layout.blob(bytes(blob), layers[i]["mediaType"])
            layers[i].update(digest=made["digest"], size=made["size"])
            layers[i]["annotations"]["dev.tarn.meta"] = "%d,%d,%s" % self.metas[i]
            diff_ids[i] = made["digest"]
        packed, data = self.pack(bytes(self.bootstrap))
        made = layout.blob(packed, layers[-1]["mediaType"])
        layers[-1].update(digest=made["digest"], size=made["size"])
        layers[-1]["annotations"]["dev.tarn.bootstrap-digest"] = oci_layout.sha256(
            bytes(self.bootstrap))
        diff_ids[-1] = oci_layout.sha256(data)
        config = layout.blob(oci.compact(self.config), self.manifest["config"]["mediaType"])
        self.manifest["config"].update(digest=config["digest"], size=config["size"])
        self.manifest.pop("subject", None)
        self.finish(self)
        layout.tag(layout.blob(self.encode_manifest(self.manifest), oci.MANIFEST), TAG)
        return f"oci:{self.target}:{TAG}"


def forged(image, change, target):
    """The name of a copy of the converted image, below target, with the change made to it."""
    made = Forge(image.converted, target)
    change(made)
    return made.save()


def reader_refuses(name):
    """Whether the second implementation finds the image damaged."""
    try:
        check.check(reader_image.Image(name))
    except (sections.Broken, KeyError, ValueError, IndexError, struct.error):
        return True
    return False
