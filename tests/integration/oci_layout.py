# SPDX-License-Identifier: Apache-2.0
"""Makes OCI layouts from tar bytes, good ones and damaged ones."""
import gzip
import hashlib
import io
import json
import os
import platform

import zstandard

LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
REF_NAME = "org.opencontainers.image.ref.name"
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def gzipped(data, members=1):
    out, step = io.BytesIO(), -(-len(data) // members)
    for i in range(members):
        out.write(gzip.compress(data[i * step:(i + 1) * step], 1, mtime=0))
    return out.getvalue()


def zstd(data, frames=1):
    step = -(-len(data) // frames)
    encode = zstandard.ZstdCompressor(level=1).compress
    return b"".join(encode(data[i * step:(i + 1) * step]) for i in range(frames))


COMPRESS = {"": lambda data: data, "gzip": gzipped, "zstd": zstd,
            "gzip members": lambda data: gzipped(data, 3),
            "zstd frames": lambda data: zstd(data, 3)}


class LayoutBuilder:
    def __init__(self, path):
        self.path, self.manifests = str(path), []
        os.makedirs(os.path.join(self.path, "blobs", "sha256"), exist_ok=True)
        with open(os.path.join(self.path, "oci-layout"), "w", encoding="utf-8") as file:
            file.write('{"imageLayoutVersion":"1.0.0"}')
        self.write_index()

    def blob_path(self, digest):
        return os.path.join(self.path, "blobs", *digest.split(":"))

    def write_index(self):
        self.write_top({"schemaVersion": 2, "manifests": self.manifests})

    def write_top(self, value):
        with open(os.path.join(self.path, "index.json"), "w", encoding="utf-8") as file:
            json.dump(value, file)

    def blob(self, data, media_type, **more):
        """Stores bytes -> their descriptor."""
        digest = sha256(data)
        with open(self.blob_path(digest), "wb") as file:
            file.write(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data), **more}

    def json(self, value, media_type, **more):
        return self.blob(json.dumps(value).encode(), media_type, **more)

    def layer(self, tar, compression="gzip", docker=False):
        """-> (descriptor, diff_id)"""
        data = bytes(tar)
        suffix = compression.split()[0] if compression else ""
        kind = (DOCKER_LAYER + (f".{suffix}" if suffix else "") if docker else
                LAYER + (f"+{suffix}" if suffix else ""))
        return self.blob(COMPRESS[compression](data), kind), sha256(data)

    def manifest(self, layers, docker=False, os_arch=("linux", ARCH), **more):
        """layers: [(descriptor, diff_id)] -> descriptor of the manifest."""
        config = {"architecture": os_arch[1], "os": os_arch[0], "config": {"Cmd": ["/bin/sh"]},
                  "rootfs": {"type": "layers", "diff_ids": [d for _, d in layers]},
                  "history": [{"created_by": f"layer {i}"} for i in range(len(layers))]}
        config = self.json(config, DOCKER_CONFIG if docker else CONFIG)
        kind = DOCKER_MANIFEST if docker else MANIFEST
        value = {"schemaVersion": 2, "mediaType": kind, "config": config,
                 "layers": [d for d, _ in layers], **more}
        return self.json(value, kind)

    def index(self, entries, docker=False):
        """entries: [(descriptor, (os, arch))] -> descriptor of an index."""
        kind = DOCKER_INDEX if docker else INDEX
        manifests = [{**d, "platform": {"os": p[0], "architecture": p[1]}} for d, p in entries]
        return self.json({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}, kind)

    def tag(self, descriptor, name="latest"):
        self.manifests.append({**descriptor, "annotations": {REF_NAME: name}})
        self.write_index()

    def image(self, tars, name="latest", compression="gzip", docker=False):
        """One image of these layers, tagged -> descriptor of its manifest."""
        layers = [self.layer(tar, compression, docker) for tar in tars]
        descriptor = self.manifest(layers, docker)
        self.tag(descriptor, name)
        return descriptor


def read_json(layout, descriptor_or_digest):
    digest = descriptor_or_digest
    if isinstance(digest, dict):
        digest = digest["digest"]
    with open(os.path.join(str(layout), "blobs", *digest.split(":")), "rb") as file:
        return json.load(file)


def tags(layout):
    """{tag: descriptor}; {} where there is no layout."""
    try:
        with open(os.path.join(str(layout), "index.json"), "rb") as file:
            manifests = json.load(file)["manifests"]
    except FileNotFoundError:
        return {}
    return {d.get("annotations", {}).get(REF_NAME): d for d in manifests}
