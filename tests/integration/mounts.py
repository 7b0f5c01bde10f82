# SPDX-License-Identifier: Apache-2.0
"""Mounts by the kernel's new system calls: mount(2) cuts long lists of devices."""
import ctypes
import os
import subprocess

libc = ctypes.CDLL(None, use_errno=True)
MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT = 429, 430, 431, 432
SET_FLAG, SET_STRING, CREATE = 0, 1, 6
F_EMPTY_PATH, ATTR_RDONLY, CLOEXEC = 4, 1, 1


def call(number, *arguments, what=""):
    result = libc.syscall(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def log_of(fd):
    try:
        return os.read(fd, 8192).decode(errors="replace").strip()
    except OSError:
        return ""


def erofs(image, devices, target):
    """Mounts an EROFS image file with one device file per slot on target."""
    fs = call(FSOPEN, b"erofs", CLOEXEC, what="fsopen")
    try:
        for key, value in ((b"source", image), *((b"device", d) for d in devices)):
            call(FSCONFIG, fs, SET_STRING, key, os.fsencode(value), 0, what=f"fsconfig {key}")
        call(FSCONFIG, fs, SET_FLAG, b"ro", None, 0, what="fsconfig ro")
        try:
            call(FSCONFIG, fs, CREATE, None, None, 0, what="fsconfig create")
        except OSError as error:
            raise OSError(error.errno, f"erofs: {log_of(fs)}") from error
        mount = call(FSMOUNT, fs, CLOEXEC, ATTR_RDONLY, what="fsmount")
        try:
            call(MOVE_MOUNT, mount, b"", -100, os.fsencode(target), F_EMPTY_PATH, what="move_mount")
        finally:
            os.close(mount)
    finally:
        os.close(fs)


class Mounted:
    """with Mounted(kind, source, target, options): mounts by mount(8) and unmounts."""

    def __init__(self, kind, source, target, options="defaults"):
        self.target = str(target)
        os.makedirs(self.target, exist_ok=True)
        self.words = ["mount", "-t", kind, "-o", options, str(source), self.target]

    def __enter__(self):
        subprocess.run(self.words, check=True)
        return self.target

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.target], check=True)
