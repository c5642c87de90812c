"""A backbone as an ONNX graph, written node by node.

The graph takes the uint8 picture as it is and has BatchNorm folded into the convolutions, so ONNX
Runtime does nothing but convolve. Written by hand because torch's exporter needs a further package.
"""

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from model.arrays import F32
from model.backbones import ConvLayer, EfficientNetLite0, InvertedResidual


class _Graph:
    """Nodes and constants written so far. Each method appends and returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: F32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def layer(self, x: str, layer: ConvLayer) -> str:
        weight, bias = fold_norm(layer)
        before, after = layer.padding
        x = self.node(
            "Conv",
            x,
            self.constant(weight),
            self.constant(bias),
            strides=list(layer.conv.stride),
            group=layer.conv.groups,
            pads=[before, before, after, after],
        )
        return self.node("Clip", x, self.zero, self.six) if layer.activated else x

    def block(self, x: str, block: InvertedResidual) -> str:
        y = x
        for layer in block.layers:
            assert isinstance(layer, ConvLayer)
            y = self.layer(y, layer)
        return self.node("Add", x, y) if block.residual else y

    def build(self, network: EfficientNetLite0, size: int) -> onnx.ModelProto:
        self.zero, self.six = self.constant(np.float32(0)), self.constant(np.float32(6))  # type: ignore[arg-type]
        x = self.node("Transpose", self.node("Cast", "pixels", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
        x = self.node("Sub", x, self.constant(np.full(1, 127, np.float32)))
        x = self.node("Mul", x, self.constant(np.full(1, 1 / 128, np.float32)))
        x = self.layer(x, network.stem)
        for block in network.blocks:
            assert isinstance(block, InvertedResidual)
            x = self.block(x, block)
        x = self.node("GlobalAveragePool", self.layer(x, network.head))
        self.nodes.append(helper.make_node("Flatten", [x], ["features"]))
        graph = helper.make_graph(
            self.nodes,
            "backbone",
            [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", size, size, 3])],
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", network.feature_dim])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def fold_norm(layer: ConvLayer) -> tuple[F32, F32]:
    """Weight and bias of the one convolution that equals convolution and BatchNorm in eval mode."""
    norm = layer.norm
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = layer.conv.weight * scale[:, None, None, None]
        bias = norm.bias - norm.running_mean * scale
    return weight.numpy(), bias.numpy()


def to_onnx(network: EfficientNetLite0, size: int) -> bytes:
    """The serialised graph: ``pixels`` uint8[B,size,size,3] → ``features`` float32[B,1280]."""
    graph: bytes = _Graph().build(network, size).SerializeToString()
    return graph
