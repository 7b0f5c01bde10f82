# SPDX-License-Identifier: Apache-2.0
"""The model against umoci, which shares nothing with it."""
import corner_cases
import images
import model
import oci_layout
import trees


def test_model_is_what_umoci_unpacks(tmp_path):
    layers = corner_cases.layers(old="0.0")
    oci_layout.LayoutBuilder(tmp_path / "source").image(layers)
    expected, _ = model.expected(layers)
    found = images.unpack_by_umoci(tmp_path / "source", "latest", tmp_path)
    for path, (fields, why) in corner_cases.UMOCI.items():
        if fields is None:
            assert path not in found, f"{path!r}: umoci has it after all: {why}"
            del expected[path]
            continue
        wrong = {name for name, value in vars(expected[path]).items()
                 if value != vars(found[path])[name]}
        assert wrong == fields, f"{path!r}: umoci differs in {wrong}: {why}"
        del expected[path], found[path]
    trees.assert_same(expected, found, "model and umoci")


def test_old_sparse_files_mean_the_same():
    one, two = corner_cases.layers(old="0.0"), corner_cases.layers()
    assert bytes(one[0]) != bytes(two[0])
    assert model.expected(one)[1] == model.expected(two)[1]
