# SPDX-License-Identifier: Apache-2.0
"""What the tests of registries have in common."""
import json
import random
import re
from dataclasses import dataclass

import environment
import oci_layout
import registries
from tars import Tar

TARN_IMAGE = "application/vnd.tarn.image.v1"
BLOB = "application/vnd.oci.image.layer.v1.tarn.blob"
SIZE = 40000  # of the files of plain_layer()


def plain_layer(seed, files, size=SIZE, top=b"d"):
    """Files of noise: content(seed, i)."""
    tar = Tar()
    tar.directory(b"%b%d" % (top, seed))
    for i in range(files):
        tar.add(b"%b%d/f%d" % (top, seed, i), data=content(seed, i, size))
    return tar


def content(seed, number, size=SIZE):
    return random.Random(1000 * seed + number).randbytes(size)


def repository_name(prefix, request):
    """One of the test's own."""
    words = re.findall(r"[a-z0-9]+", request.node.name.lower())
    return f"{prefix}/{'-'.join(words)}"


@dataclass
class Source:
    """An image in a layout and, the same bytes, at a registry as NAME:t."""
    layout: str
    descriptor: dict
    registry: object
    name: str

    @property
    def digest(self):
        return self.descriptor["digest"]

    @property
    def manifest(self):
        return oci_layout.read_json(self.layout, self.descriptor)

    def at(self, server):
        """Its name by way of a server that leads to the registry."""
        return f"docker://{server.host}/{self.name}:t"

    @property
    def blobs(self):
        return {self.manifest["config"]["digest"], *(x["digest"] for x in self.manifest["layers"])}


def make_source(directory, registry, name, layers, compression="gzip"):
    layout = directory / "source"
    made = oci_layout.LayoutBuilder(layout).image(layers, compression=compression)
    registries.push(f"oci:{layout}:latest", registry, f"{name}:t")
    return Source(str(layout), made, registry, name)


@dataclass
class Published:
    """What stands under a tag of a registry after a conversion."""
    registry: object
    name: str
    index: dict
    original: dict  # descriptor
    entry: dict     # descriptor of Tarn's
    manifest: dict  # Tarn's

    @property
    def blobs(self):
        """Digests of Tarn's blobs and of its bootstrap layer."""
        return [layer["digest"] for layer in self.manifest["layers"]]


def published(registry, name, tag="t"):
    index = json.loads(registry.blob(registry.tags(name)[tag]))
    original, entry = index["manifests"][0], index["manifests"][-1]
    return Published(registry, name, index, original, entry,
                     json.loads(registry.blob(entry["digest"])))


def converted(factory, tarn, registry, name, layers):
    """The image of these layers, converted at the registry under NAME:t."""
    source = make_source(factory.mktemp("source"), registry, name, layers)
    tarn("convert", source.at(registry), f"docker://{registry.host}/{name}:t")
    return published(registry, name)


def blob_requests(log, digests, methods="GET"):
    """Requests of a line's or a bad server's log for these blobs."""
    return [r for r in log if r["method"] in methods.split() and "/blobs/" in r["path"] and
            r["path"].rpartition("/")[2] in digests]


def uploads(log):
    """Requests that carried bytes of blobs up."""
    return [r for r in log if r["method"] in ("PATCH", "PUT", "POST") and
            "/blobs/uploads" in r["path"] and r["sent"]]


def ranges(requests):
    """{path: sorted [(first, last)]} of the requests with ranges that were answered."""
    found = {}
    for r in requests:
        if r["range"] and r["status"] == 206:
            pairs = re.findall(r"(\d+)-(\d+)", r["range"])
            found.setdefault(r["path"], []).extend((int(first), int(last)) for first, last in pairs)
    return {path: sorted(list_) for path, list_ in found.items()}


def assert_disjoint(found):
    for path, list_ in found.items():
        for one, two in zip(list_, list_[1:]):
            assert one[1] < two[0], f"{path}: {one} and {two} were both fetched"


def assert_no_image(registry, name, tag="t"):
    assert tag not in registry.image_tags(name)


def read_errno(path):
    """errno of reading the file, 0 if that succeeds."""
    try:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 16):
                pass
    except OSError as error:
        return error.errno
    return 0


def unmounted(tarn, place):
    tarn("umount", place)
    return environment.mounts_below(place) == []
