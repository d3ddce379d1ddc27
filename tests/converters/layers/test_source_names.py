"""Layers keep the names their author gave them."""

import pytest

from edgekit_converters.layers import source_names


@pytest.mark.parametrize(
    ("tensor", "layer"),
    [
        ("model/activation_2/Relu;model/add/add", "activation_2"),
        (
            "model/bn_2/FusedBatchNormV3;model/conv2d_2/BiasAdd/ReadVariableOp/resource;model/conv2d_2/BiasAdd;model/conv2d_2/Conv2D",
            "conv2d_2",
        ),
        (
            "model/act/Relu;model/bn/FusedBatchNormV3;model/conv2d/BiasAdd;model/conv2d_2/Conv2D;model/conv2d/Conv2D1",
            "conv2d",
        ),
        ("functional_1/block/dense/MatMul;functional_1/block/dense/BiasAdd", "block/dense"),
        ("247;246;245;;1", "247"),
        ("/layer1/conv/Conv_output_0", "layer1/conv"),
        ("scores", "scores"),
        ("", ""),
    ],
)
def test_a_fused_tensor_has_the_name_of_the_layer_it_speaks_of_most(tensor: str, layer: str) -> None:
    assert source_names.layer(tensor) == layer


def test_the_number_that_made_a_name_unique_is_told_from_the_name() -> None:
    assert source_names.tokens("relu;conv1") == ("relu", "conv1", "conv")
