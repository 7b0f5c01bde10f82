# SPDX-License-Identifier: Apache-2.0
"""A second reader of Tarn images, written only from docs/format.md.

It shares no code with the C programs. It reads an image in an OCI layout two ways, from the blobs
and from the bootstrap, is strict about every rule of the document, and makes the bootstrap again
from the blobs to compare it byte for byte. It is for tests: simple rather than fast.

sections  section directories              oci        layouts, manifests, the bootstrap's layer
tables    blob records and chunk rows      merge      merge of the layers' own trees
metadata  one layer's own tree             tree       inodes, canonical walk, tree digest
chunks    chunker, decoding, encoding      erofs      reads an EROFS image
image     all of it put together           mkerofs    makes the EROFS image again
rebuild   makes the bootstrap again        check      every rule, with data
"""
