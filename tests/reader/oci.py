# SPDX-License-Identifier: Apache-2.0
"""OCI layouts, Tarn's manifests and the bootstrap's layer (format.md, section 11)."""
import hashlib
import json
import mmap
import os
import re
from dataclasses import dataclass, field

from .sections import Broken, need, unzstd

ARTIFACT = "application/vnd.tarn.image.v1"
BLOB_TYPE = "application/vnd.oci.image.layer.v1.tarn.blob"
BOOTSTRAP_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


class Layout:
    def __init__(self, path):
        self.path = path
        with open(os.path.join(path, "oci-layout"), encoding="utf-8") as file:
            need(json.load(file)["imageLayoutVersion"] == "1.0.0", "{}: oci-layout", path)
        with open(os.path.join(path, "index.json"), encoding="utf-8") as file:
            self.index = json.load(file)

    def blob_path(self, digest):
        need(DIGEST.match(digest), "{}: digest {}", self.path, digest)
        return os.path.join(self.path, "blobs", *digest.split(":"))

    def map(self, descriptor, verify=True):
        """The blob of a descriptor as a memoryview, its size and digest checked."""
        digest = descriptor["digest"]
        with open(self.blob_path(digest), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            need(size == descriptor["size"], "{}: {} bytes, not {}", digest, size,
                 descriptor["size"])
            view = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) if size else b"")
        if verify:
            found = "sha256:" + hashlib.sha256(view).hexdigest()
            need(found == digest, "{}: wrong SHA-256", digest)
        return view

    def json(self, descriptor):
        return json.loads(bytes(self.map(descriptor)))

    def tag(self, tag):
        names = [d.get("annotations", {}).get(REF_NAME) for d in self.index["manifests"]]
        found = [d for d, name in zip(self.index["manifests"], names)
                 if (name == tag if tag else name and not name.startswith("tarn-layer-"))]
        need(len(found) == 1, "{}: {} manifests are tagged {}", self.path, len(found), tag)
        return found[0]

    def manifests(self, descriptor):
        """Digests of the manifests that a descriptor leads to, through indexes."""
        document = self.json(descriptor)
        if "layers" in document:
            return {descriptor["digest"]}
        found = set()
        for entry in document["manifests"]:
            if os.path.exists(self.blob_path(entry["digest"])):
                found |= self.manifests(entry)
        return found

    def tarn(self, tag, platform=None):
        """(descriptor of the Tarn manifest behind a tag, its entry in the index or None)."""
        top = self.tag(tag)
        if self.json(top).get("artifactType") == ARTIFACT:
            return top, None
        subjects = self.manifests(top)
        entries = []
        for entry in self.index["manifests"]:
            notes = entry.get("annotations", {})
            if notes.get("dev.tarn.subject") in subjects:
                need(entry["artifactType"] == ARTIFACT and REF_NAME not in notes,
                     "index.json: an entry of Tarn's with a tag or without artifactType")
                need(entry["platform"] == {"architecture": "unknown", "os": "unknown"},
                     "index.json: platform of an entry of Tarn's")
                if platform in (None, notes["dev.tarn.platform"]):
                    entries.append(entry)
        need(len(entries) == 1, "{}:{}: {} Tarn manifests", self.path, tag, len(entries))
        return entries[0], entries[0]


def parse_name(name):
    """LAYOUT[:TAG], with or without oci: -> (path, tag or None)"""
    name = name.removeprefix("oci:")
    if os.path.exists(os.path.join(name, "oci-layout")):
        return name, None
    path, _, tag = name.rpartition(":")
    return path, tag


@dataclass
class BlobLayer:
    digest: str
    size: int
    meta: tuple  # offset, length, digest
    descriptor: dict
    role: str


@dataclass
class Manifest:
    chain: list = field(default_factory=list)
    foreign: list = field(default_factory=list)
    bootstrap: dict = None
    bootstrap_digest: str = ""
    tree_digest: str = ""
    subject: dict = None
    config: dict = None


def parse_manifest(layout, descriptor):
    raw = bytes(layout.map(descriptor))
    manifest = json.loads(raw)
    need(raw == compact(manifest), "manifest: not compact JSON with sorted keys")
    need(manifest["schemaVersion"] == 2 and manifest["mediaType"] == MANIFEST, "manifest: type")
    need(manifest["artifactType"] == ARTIFACT, "manifest: artifactType")
    out = Manifest(subject=manifest.get("subject"), config=layout.json(manifest["config"]))
    for number, layer in enumerate(manifest["layers"]):
        where, notes = f"manifest: layer {number}", layer["annotations"]
        need(out.bootstrap is None, "{}: behind the bootstrap", where)
        if layer["mediaType"] == BOOTSTRAP_TYPE:
            need(notes["containerd.io/snapshot/tarn-bootstrap"] == "true", "{}: annotation", where)
            need(notes["dev.tarn.format"] == "1", "{}: format", where)
            out.bootstrap = layer
            out.bootstrap_digest = notes["dev.tarn.bootstrap-digest"]
            out.tree_digest = notes["dev.tarn.tree-digest"]
            continue
        need(layer["mediaType"] == BLOB_TYPE, "{}: media type {}", where, layer["mediaType"])
        need(notes["containerd.io/snapshot/tarn-blob"] == "true", "{}: annotation", where)
        offset, length, digest = notes["dev.tarn.meta"].split(",")
        role = notes.get("dev.tarn.role", "")
        blob = BlobLayer(layer["digest"], layer["size"], (int(offset), int(length), digest), layer,
                         role)
        need(role in ("", "dict"), "{}: role {}", where, role)
        need(role == "dict" or not out.foreign, "{}: behind a dict", where)
        (out.foreign if role else out.chain).append(blob)
        if not role:
            need(DIGEST.match(notes["dev.tarn.key"]) or re.match(r"[0-9a-f]{64}\Z",
                 notes["dev.tarn.key"]), "{}: key", where)
    need(out.bootstrap is not None, "manifest: no bootstrap")
    check_config(out, manifest)
    return out


def check_config(out, manifest):
    diff_ids = out.config["rootfs"]["diff_ids"]
    need(len(diff_ids) == len(manifest["layers"]), "config: {} diff_ids", len(diff_ids))
    for blob, diff_id in zip(out.chain + out.foreign, diff_ids):
        need(blob.digest == diff_id, "config: diff_id {} is not {}", diff_id, blob.digest)
    history = out.config.get("history", [])
    count = sum(1 for h in history if not h.get("empty_layer"))
    own = len(diff_ids) - len(out.chain)  # a source may have no history, or less than layers
    need(own <= count <= len(diff_ids), "config: {} history entries with layers, {} layers", count,
         len(diff_ids))
    need(all(entry.get("created_by") == "tarn" for entry in history[len(history) - own:]),
         "config: history of the layers that are Tarn's")


def compact(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_bootstrap(layout, manifest):
    """The bootstrap's bytes out of its layer; every field of the archive is checked."""
    layer = layout.map(manifest.bootstrap)
    archive = unzstd(layer, "bootstrap layer", min(1 << 32, (128 << 20) + 256 * len(layer)))
    diff_id = "sha256:" + hashlib.sha256(archive).hexdigest()
    need(manifest.config["rootfs"]["diff_ids"][-1] == diff_id, "bootstrap layer: diff_id")
    head = archive[:512]
    fields = [head[a:b] for a, b in ((0, 100), (100, 108), (108, 116), (116, 124), (136, 148))]
    need(fields[0].rstrip(b"\0") == b"tarn/bootstrap", "bootstrap layer: name")
    numbers = [int(x.strip(b" \0") or b"0", 8) for x in fields[1:]]
    need(numbers == [0o444, 0, 0, 0], "bootstrap layer: mode, owner or time: {}", numbers)
    need(head[156:157] == b"0" and head[257:265] == b"ustar\x0000", "bootstrap layer: not ustar")
    need(head[265:329].strip(b"\0") == b"" and head[345:].strip(b"\0") == b"",
         "bootstrap layer: names or prefix")
    total = sum(head[:148]) + sum(head[156:]) + 8 * 32
    need(int(head[148:156].strip(b" \0"), 8) == total, "bootstrap layer: checksum")
    size = int(head[124:136].strip(b" \0"), 8)
    end = 512 + size
    need(len(archive) == end + -size % 512 + 1024 and archive[end:].strip(b"\0") == b"",
         "bootstrap layer: {} bytes for a member of {}", len(archive), size)
    data = archive[512:end]
    if "sha256:" + hashlib.sha256(data).hexdigest() != manifest.bootstrap_digest:
        raise Broken("bootstrap: digest is not the annotation's")
    return data
