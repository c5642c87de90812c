"""Feature extraction behind one call: ONNX Runtime on a CPU, torch on CUDA.

An extractor's ``key`` names everything that its numbers depend on (runtime, precision, weights,
preprocessing). Features of different keys must not be mixed.
"""

import hashlib
import os
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

from model.arrays import F32, U8

BACKBONE = "efficientnet_lite0"
SIZE = 224
DIM = 1280
# Raise when ``preprocess`` or the written graph changes: cached features and graphs are then made anew.
PREPROCESSING = "whole-bicubic-1"
GRAPH_FORMAT = 1


class Extractor(ABC):
    """Pictures to raw backbone features. ``extract`` may be called by several threads at once."""

    key: str
    size: int = SIZE
    dim: int = DIM

    def preprocess(self, image: Image.Image) -> U8:
        """The whole of an upright RGB picture, resized to a square: uint8[size,size,3].

        Nothing is cropped away: in the streams this serves what matters may stand at the border.
        """
        square = image.resize((self.size, self.size), Image.Resampling.BICUBIC, reducing_gap=2.0)
        return np.asarray(square, dtype=np.uint8)

    @abstractmethod
    def extract(self, batch: U8) -> F32:
        """Features float32[B,dim] of uint8[B,size,size,3]. B = 0 gives an empty array."""


class OnnxExtractor(Extractor):
    """ONNX Runtime on the CPU. Small batches (up to 8) and one call per core at a time are fastest."""

    def __init__(self, graph: bytes, *, weights_sha256: str, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A waiting pool that spins would take the core that decoding needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.key = runtime_key("onnxruntime", "float32", weights_sha256)

    def extract(self, batch: U8) -> F32:
        if len(batch) == 0:
            return np.zeros((0, self.dim), np.float32)
        features: F32 = self._session.run(["features"], {"pixels": np.ascontiguousarray(batch)})[0]
        return features


class TorchExtractor(Extractor):
    """Torch: half precision and channels-last on CUDA, plain float32 on a CPU (the reference)."""

    def __init__(self, network: Any, *, weights_sha256: str, device: str) -> None:
        import torch

        self._torch = torch
        self._cuda = device.startswith("cuda")
        self._device = torch.device(device)
        self._network = network.to(device=self._device, memory_format=torch.channels_last)
        self.key = runtime_key("torch", "float16" if self._cuda else "float32", weights_sha256)

    def extract(self, batch: U8) -> F32:
        if len(batch) == 0:
            return np.zeros((0, self.dim), np.float32)
        torch = self._torch
        with torch.inference_mode(), torch.autocast(self._device.type, torch.float16, enabled=self._cuda):
            pixels = torch.tensor(batch, device=self._device)
            features: F32 = self._network(pixels).float().cpu().numpy()
        return features


def runtime_key(runtime: str, precision: str, weights_sha256: str) -> str:
    """A short stable name for all that decides a feature's value."""
    parts = (BACKBONE, runtime, precision, weights_sha256, PREPROCESSING, str(SIZE))
    return f"{BACKBONE}-{runtime}-{precision}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:12]}"


def load_extractor(device: str = "auto", *, threads: int = 1, cache_dir: Path | None = None) -> Extractor:
    """The extractor for this machine.

    ``device``: ``auto`` (CUDA if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    ``threads``: cores that one ``extract`` call uses on a CPU; several callers with one thread each
    are faster than one caller with several.
    ``cache_dir``: where the ONNX graph is kept between starts; with it a CPU start loads no torch
    after the first time.

    Raises WeightsError if the backbone's weights are missing or damaged, ValueError for a device that
    this machine lacks.
    """
    if device != "cpu":
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif not device.startswith("cuda") or not torch.cuda.is_available():
            raise ValueError(f"Device {device!r} is not available here: use auto or cpu.")
    if device == "cpu":
        graph, weights_sha256 = _onnx_graph(cache_dir)
        return OnnxExtractor(graph, weights_sha256=weights_sha256, threads=threads)

    from model.backbones import BACKBONES, LITE0_SHA256

    return TorchExtractor(BACKBONES[BACKBONE](), weights_sha256=LITE0_SHA256, device=device)


def _onnx_graph(cache_dir: Path | None) -> tuple[bytes, str]:
    """The serialised graph and the checksum of the weights in it."""
    cached = None if cache_dir is None else cache_dir / f"{BACKBONE}-{SIZE}-{GRAPH_FORMAT}.onnx"
    if cached is not None and cached.exists():
        weights_sha256, _, rest = cached.read_bytes().partition(b"\n")
        checksum, _, graph = rest.partition(b"\n")
        if hashlib.sha256(graph).hexdigest().encode() == checksum:
            return graph, weights_sha256.decode()

    from model.backbones import BACKBONES, LITE0_SHA256
    from model.onnx_graph import to_onnx

    graph = to_onnx(BACKBONES[BACKBONE](), SIZE)
    if cached is not None:
        checksum = hashlib.sha256(graph).hexdigest().encode()
        _write_whole(cached, LITE0_SHA256.encode() + b"\n" + checksum + b"\n" + graph)
    return graph, LITE0_SHA256


def _write_whole(path: Path, content: bytes) -> None:
    """Write beside the target and rename, so that two starting workers never read half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(name, path)
