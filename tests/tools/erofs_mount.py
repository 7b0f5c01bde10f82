#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mounts an EROFS image with its devices the only way that has no limit on their number: fsopen,
fsconfig ("source", then "device" once per slot, in slot order), fsmount, move_mount. Needs root and
a kernel with file-backed EROFS (6.12). Also a module: mount(image, target, devices)."""
import argparse
import ctypes
import os
import sys

FSOPEN, FSCONFIG, FSMOUNT, MOVE_MOUNT = 430, 431, 432, 429  # equal on all architectures
SET_FLAG, SET_STRING, CMD_CREATE = 0, 1, 6
AT_FDCWD = -100
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNT_ATTR_RDONLY = 1

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def messages(context):
    """What the kernel says about a file system context, if anything."""
    lines = []
    while True:
        try:
            lines.append(os.read(context, 4096).decode(errors="replace").strip())
        except OSError:
            return lines


def call(what, number, *arguments, context=None):
    value = libc.syscall(ctypes.c_long(number), *arguments)
    if value < 0:
        error = ctypes.get_errno()
        said = messages(context) if context is not None else []
        raise OSError(error, "; ".join([f"{what}: {os.strerror(error)}"] + said))
    return value


def mount(image, target, devices=(), directio=False):
    """Mounts image, read-only, on the directory target."""
    context = call("fsopen", FSOPEN, b"erofs", ctypes.c_uint(1))
    try:
        def config(command, key, value):
            call(f"fsconfig {key} {value}", FSCONFIG, ctypes.c_int(context), ctypes.c_uint(command),
                 key.encode() if key else None, os.fsencode(value) if value else None,
                 ctypes.c_int(0), context=context)
        config(SET_STRING, "source", image)
        for device in devices:
            config(SET_STRING, "device", device)
        if directio:
            config(SET_FLAG, "directio", None)
        config(CMD_CREATE, None, None)
        made = call("fsmount", FSMOUNT, ctypes.c_int(context), ctypes.c_uint(1),
                    ctypes.c_uint(MOUNT_ATTR_RDONLY), context=context)
    finally:
        os.close(context)
    try:
        call(f"move_mount to {target}", MOVE_MOUNT, ctypes.c_int(made), b"", ctypes.c_int(AT_FDCWD),
             os.fsencode(target), ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH))
    finally:
        os.close(made)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", action="append", default=[], help="one per slot, in slot order")
    parser.add_argument("--directio", action="store_true")
    parser.add_argument("image")
    parser.add_argument("target")
    arguments = parser.parse_args()
    try:
        mount(arguments.image, arguments.target, arguments.device, arguments.directio)
    except OSError as error:
        sys.exit(f"erofs_mount.py: {error.strerror}")


if __name__ == "__main__":
    main()
