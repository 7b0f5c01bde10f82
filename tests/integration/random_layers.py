# SPDX-License-Identifier: Apache-2.0
"""Small layers of random members over few names, so that they meet: links, whiteouts, opaque marks,
symbolic links as parents, names that come back as other types."""
import random

import model
from corner_cases import noise
from reader import merge
from reader.sections import Broken
from tars import CHAR, FIFO, LINK, Tar

NAMES = [b"a", b"b", b"c", b"!x", b"\xff", b"d" * 100]
SIZES = [0, 1, 100, 4096, 5000, 20000, 140000, 300000]
KINDS = ["file"] * 6 + ["directory"] * 5 + ["link"] * 4 + ["symlink"] * 2 + [
    "whiteout", "whiteout", "opaque", "fifo", "device"]


def path(rng, depth=3):
    return b"/".join(rng.choice(NAMES) for _ in range(rng.randint(1, depth)))


def attributes(rng, users=True):
    out = {"mode": rng.choice([0o644, 0o755, 0o4711, 0o600]), "uid": rng.choice([0, 1, 70000]),
           "gid": rng.choice([0, 2, 2**31]), "mtime": rng.choice([0, 0, 5, -5, 2**33]),
           "nsec": rng.choice([0, 0, 1, 999999999])}
    if rng.random() < 0.3:
        names = [b"trusted.y", b"security.z"] + [b"user.x", b"user.\xfe"] * users
        out["xattrs"] = {rng.choice(names):
                         rng.choice([b"", b"1", bytes(range(256)), noise(2000, 5)])
                         for _ in range(rng.randint(1, 3))}
    return out


def data(rng):
    size = rng.choice(SIZES)
    if rng.random() < 0.2:
        return bytes(size)
    if rng.random() < 0.1:
        return noise(1000, rng.randint(0, 3)) + bytes(600000) + noise(size, 1)
    return noise(size, rng.randint(0, 4))


def step(rng, tar):
    """Adds one member."""
    kind, name = rng.choice(KINDS), path(rng)
    if kind == "file":
        tar.add(name, data=data(rng), **attributes(rng))
    elif kind == "directory":
        tar.directory(name, **attributes(rng))
    elif kind == "link":
        tar.hard_link(name, path(rng), **attributes(rng))
    elif kind == "symlink":
        target = rng.choice([path(rng), b"/" + path(rng), b"../" + path(rng), b"..", b"../../.."])
        tar.symlink(name, target, **{**attributes(rng), "mode": 0o777, "xattrs": {}})
    elif kind == "whiteout":
        tar.whiteout(name)
    elif kind == "opaque":
        tar.opaque(rng.choice([name, b""]) if rng.random() < 0.1 else name)
    elif kind == "fifo":
        tar.add(name, kind=FIFO, **attributes(rng, False))
    else:
        tar.add(name, kind=CHAR, device=(rng.randint(0, 4095), rng.randint(0, 2**20 - 1)),
                **attributes(rng, False))


def in_the_way(tree, member):
    """Something that is no directory stands where the member needs one: no rule says what then; or
    a hard link would name itself."""
    node = tree.root
    names = [n for n in member.name.split(b"/") if n]
    for name in names[:-1]:
        node = node.children.get(name)
        if node is None:
            return False
        if node.inode is not None and not node.is_dir and node.inode.target is None:
            return True
        if node.inode is not None and node.inode.type == 0:
            return True
    return False


def harsh(tree, below, member):
    """What umoci does not take, or is known to take otherwise."""
    if any(value == b"" for value in member.xattrs.values()):
        return True
    names = [n for n in member.name.split(b"/") if n not in (b"", b".")]
    merged = model.merged(below)
    walker = merge.Walker(merged)
    if names[-1].startswith(b".wh."):
        return walker.directory(names[:-1]) is None
    for count in range(1, len(names)):
        there = walker.resolve(names[:count])
        own = tree.walk(names[:count], False)[0]
        if there is None and own is None:
            lower = walker.resolve(names[:count], last=False)
            if lower is not None:
                return True  # a link that leads nowhere
        if there is not None and not there.is_dir:
            return True
    return False


def layer(rng, below, gentle):
    """A layer that can stand on the layers below."""
    tar = Tar(rng.choice(["pax", "pax", "pax"]), rng.choice([b"", b"", b"./", b"/"]))
    for _ in range(rng.randint(3, 25)):
        parts, members = len(tar.parts), len(tar.members)
        step(rng, tar)
        try:
            earlier = Tar()
            earlier.members = tar.members[:members]
            before = model.OwnTree(earlier.members)
            good = not in_the_way(before, tar.members[-1])
            if tar.members[-1].kind == LINK:
                good = good and not is_same(before, tar.members[-1])
            if good:
                model.merged([*below, tar])
                good = not gentle or not harsh(before, [*below, earlier], tar.members[-1])
        except (Broken, AssertionError, AttributeError):
            good = False
        if not good:
            del tar.parts[parts:], tar.members[members:]
    return tar


def is_same(tree, member):
    """A hard link to its own name."""
    one, two = ([n for n in x.split(b"/") if n not in (b"", b".")]
                for x in (member.name, member.link))
    first, second = (tree.walk(names[:-1], False)[1] + (names[-1],) for names in (one, two))
    return first == second


def layers(seed, gentle=False):
    """gentle: only what umoci understands as well."""
    rng, out = random.Random(seed), []
    for _ in range(rng.randint(1, 4)):
        out.append(layer(rng, out, gentle))
    return out
