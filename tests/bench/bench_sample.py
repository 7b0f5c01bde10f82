# SPDX-License-Identifier: Apache-2.0
"""A small image in two versions, made of this host's Python: it starts, and needs no network."""
import glob
import gzip
import hashlib
import io
import json
import os
import re
import sysconfig
import tarfile

from bench_run import command

PYTHON = "/usr/bin/python3"
LEFT_OUT = ("__pycache__", "dist-packages", "distutils", "ensurepip", "idlelib", "lib2to3",
            "pydoc_data", "test", "tkinter", "turtledemo")


class _Layer:
    def __init__(self):
        self.bytes = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.bytes, mode="w", format=tarfile.PAX_FORMAT)
        self.directories = set()

    def parents(self, path):
        parent = os.path.dirname(path)
        if parent and parent not in self.directories:
            self.parents(parent)
            self.directories.add(parent)
            entry = tarfile.TarInfo(parent)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            self.tar.addfile(entry)

    def add(self, path, data, mode=0o644):
        self.parents(path)
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(data), mode
        self.tar.addfile(entry, io.BytesIO(data))

    def closed(self):
        self.tar.close()
        return self.bytes.getvalue()


def _data(path):
    with open(path, "rb") as file:
        return file.read()


def _program():
    """The interpreter and the libraries that it loads."""
    layer = _Layer()
    modules = glob.glob(os.path.join(sysconfig.get_path("stdlib"), "lib-dynload", "*.so"))
    paths = set(re.findall(r"(/\S+) \(0x", command("ldd", PYTHON, *modules)))
    for path in sorted(paths) + [PYTHON]:
        layer.add(path.lstrip("/"), _data(os.path.realpath(path)), 0o755)
    for name in ("proc", "sys", "dev", "tmp", "etc"):
        layer.parents(f"{name}/.")
    return layer.closed()


def _library(changed):
    layer, top = _Layer(), sysconfig.get_path("stdlib")
    count = 0
    for directory, names, files in os.walk(top):
        names[:] = sorted(name for name in names if name not in LEFT_OUT and
                          not name.startswith("config-"))
        for name in sorted(files):
            path = os.path.join(directory, name)
            data = _data(path)
            count += 1
            if changed and name.endswith(".py") and count % 8 == 0:
                data = b"# another version\n" + data
            layer.add(path.lstrip("/"), data)
    return layer.closed()


def _write(layout, data):
    digest = hashlib.sha256(data).hexdigest()
    with open(f"{layout}/blobs/sha256/{digest}", "wb") as file:
        file.write(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def _image(layout, layers):
    os.makedirs(f"{layout}/blobs/sha256")
    kind = "application/vnd.oci.image."
    rows = [dict(_write(layout, gzip.compress(layer, 6, mtime=0)),
                 mediaType=kind + "layer.v1.tar+gzip") for layer in layers]
    config = {"architecture": command("dpkg", "--print-architecture").strip(), "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(la).hexdigest()
                                                        for la in layers]}}
    manifest = {"schemaVersion": 2, "mediaType": kind + "manifest.v1+json", "layers": rows,
                "config": dict(_write(layout, json.dumps(config).encode()),
                               mediaType=kind + "config.v1+json")}
    top = dict(_write(layout, json.dumps(manifest).encode()), mediaType=kind + "manifest.v1+json",
               annotations={"org.opencontainers.image.ref.name": "latest"})
    for name, content in (("index.json", {"schemaVersion": 2, "manifests": [top]}),
                          ("oci-layout", {"imageLayoutVersion": "1.0.0"})):
        with open(f"{layout}/{name}", "w", encoding="utf-8") as file:
            json.dump(content, file)
    return f"oci:{layout}:latest"


def make(scratch):
    """Two references: the image and its next version."""
    program = _program()
    return [_image(f"{scratch}/sample/{name}", [program, _library(changed)])
            for name, changed in (("python-1", False), ("python-2", True))]
