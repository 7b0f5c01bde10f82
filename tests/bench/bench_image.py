# SPDX-License-Identifier: Apache-2.0
"""An image as an OCI layout on disk, original and converted."""
import json
import os
import re

from bench_run import Failure

TARN = "application/vnd.tarn.image.v1"
BOOTSTRAP = "containerd.io/snapshot/tarn-bootstrap"


class Image:
    """oci:DIR[:TAG]. `name` is the last part of DIR."""

    def __init__(self, text):
        match = re.fullmatch(r"oci:(.+?)(?::([A-Za-z0-9_][A-Za-z0-9_.-]*))?", text)
        if not match:
            raise Failure(f"{text}: an image is oci:DIR or oci:DIR:TAG")
        self.directory = os.path.abspath(match[1])
        self.tag = match[2] or "latest"
        self.name = os.path.basename(self.directory)
        if not os.path.exists(f"{self.directory}/index.json"):
            raise Failure(f"{text}: {self.directory} is no OCI layout")

    @property
    def reference(self):
        return f"oci:{self.directory}:{self.tag}"

    def blob(self, digest):
        return os.path.join(self.directory, "blobs", *digest.split(":"))

    def read(self, digest):
        with open(self.blob(digest), "rb") as file:
            return json.load(file)

    def _manifests(self):
        """Descriptors of the original and, behind it, of what was made of it."""
        with open(f"{self.directory}/index.json", "rb") as file:
            found = json.load(file)["manifests"]
        tags = [m.get("annotations", {}).get("org.opencontainers.image.ref.name") for m in found]
        top = [m for m, tag in zip(found, tags) if tag == self.tag]
        if not top:
            raise Failure(f"{self.reference}: there is no such image")
        if "index" in top[0]["mediaType"] or "list" in top[0]["mediaType"]:
            return self.read(top[0]["digest"])["manifests"]
        return top[:1] + [m for m in found if
                          m.get("annotations", {}).get("dev.tarn.subject") == top[0]["digest"]]

    def manifest(self):
        """The original's."""
        return self.read(next(m["digest"] for m in self._manifests()
                              if m.get("artifactType") != TARN))

    def converted(self):
        """(descriptor, manifest) of the Tarn image."""
        for descriptor in self._manifests():
            if descriptor.get("artifactType") == TARN:
                return descriptor, self.read(descriptor["digest"])
        raise Failure(f"{self.reference}: is not converted")

    def config(self):
        return self.read(self.manifest()["config"]["digest"]).get("config") or {}

    def layers(self):
        """Paths of the original's layers."""
        return [self.blob(layer["digest"]) for layer in self.manifest()["layers"]]

    def size(self):
        """Compressed bytes of the original's layers."""
        return sum(layer["size"] for layer in self.manifest()["layers"])


def converted_sizes(image):
    """{blobs, bootstrap, documents} in bytes: what the layers and what the rest take."""
    descriptor, manifest = image.converted()
    found = {"blobs": 0, "bootstrap": 0,
             "documents": descriptor["size"] + manifest["config"]["size"]}
    for layer in manifest["layers"]:
        kind = "bootstrap" if BOOTSTRAP in layer.get("annotations", {}) else "blobs"
        found[kind] += layer["size"]
    return found
