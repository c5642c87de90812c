"""Features: ONNX Runtime against the torch network, the kept graph, several callers at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model import backbones, onnx_graph
from model.arrays import U8
from model.runtime import DIM, SIZE, Extractor, TorchExtractor, load_extractor, runtime_key


@pytest.fixture(scope="module")
def network() -> backbones.EfficientNetLite0:
    return backbones.efficientnet_lite0()


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def extractor(graphs: Path) -> Extractor:
    return load_extractor("cpu", cache_dir=graphs)


def pictures(count: int) -> U8:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 7, 7, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((SIZE, SIZE))) for one in coarse])


class TestExtractor:
    def test_equals_the_torch_network(
        self, extractor: Extractor, network: backbones.EfficientNetLite0
    ) -> None:
        batch = pictures(4)
        with torch.inference_mode():
            expected = network(torch.from_numpy(batch)).numpy()
        found = extractor.extract(batch)
        assert found.dtype == np.float32
        assert found.shape == (4, extractor.dim)
        np.testing.assert_allclose(found, expected, atol=1e-4)

    def test_torch_extractor_equals_it_too(
        self, extractor: Extractor, network: backbones.EfficientNetLite0
    ) -> None:
        reference = TorchExtractor(network, weights_sha256=backbones.LITE0_SHA256, device="cpu")
        np.testing.assert_allclose(reference.extract(pictures(3)), extractor.extract(pictures(3)), atol=1e-4)
        assert reference.key != extractor.key

    def test_a_picture_has_the_same_features_in_any_batch(self, extractor: Extractor) -> None:
        batch = pictures(9)
        np.testing.assert_allclose(extractor.extract(batch)[7:8], extractor.extract(batch[7:8]), atol=1e-5)

    def test_no_pictures(self, extractor: Extractor) -> None:
        assert extractor.extract(pictures(3)[:0]).shape == (0, DIM)

    def test_callers_at_once_do_not_mix(self, extractor: Extractor) -> None:
        batch = pictures(6)
        expected = extractor.extract(batch)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda k: extractor.extract(batch[k % 6 : k % 6 + 1]), range(24)))
        for k, features in enumerate(found):
            np.testing.assert_allclose(features[0], expected[k % 6], atol=1e-5)

    def test_alike_pictures_have_alike_features(self, extractor: Extractor) -> None:
        batch = pictures(2)
        brighter = np.clip(batch[:1].astype(int) + 12, 0, 255).astype(np.uint8)
        first, second, other = extractor.extract(np.concatenate([batch[:1], brighter, batch[1:]]))

        def cosine(a: np.ndarray, b: np.ndarray) -> float:
            return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

        assert cosine(first, second) > cosine(first, other)

    def test_unavailable_device_is_named(self) -> None:
        if torch.cuda.is_available():
            pytest.skip("this machine has a GPU")
        with pytest.raises(ValueError, match="cuda"):
            load_extractor("cuda")


class TestPreprocessing:
    @pytest.mark.parametrize("size", [(1, 1), (5000, 1), (1, 5000), (300, 200), (72, 72), (2048, 256)])
    def test_any_shape_becomes_the_networks_square(self, extractor: Extractor, size: tuple[int, int]) -> None:
        pixels = extractor.preprocess(Image.new("RGB", size, (200, 100, 50)))
        assert pixels.shape == (SIZE, SIZE, 3)
        assert pixels.dtype == np.uint8
        assert np.abs(pixels.astype(int) - [200, 100, 50]).max() <= 1

    def test_nothing_at_the_border_is_lost(self, extractor: Extractor) -> None:
        wide = Image.new("RGB", (400, 100))
        wide.paste((255, 0, 0), (0, 0, 40, 100))
        assert extractor.preprocess(wide)[112, 5].tolist() == [255, 0, 0]


class TestKeptGraph:
    def test_is_written_once_and_used_again(self, extractor: Extractor, graphs: Path) -> None:
        (kept,) = graphs.iterdir()
        written = kept.stat().st_mtime_ns
        again = load_extractor("cpu", cache_dir=graphs)
        assert kept.stat().st_mtime_ns == written
        np.testing.assert_array_equal(again.extract(pictures(1)), extractor.extract(pictures(1)))

    def test_a_damaged_one_is_made_anew(self, extractor: Extractor, graphs: Path, tmp_path: Path) -> None:
        (kept,) = graphs.iterdir()
        copy = tmp_path / kept.name
        copy.write_bytes(kept.read_bytes()[:-1000])
        again = load_extractor("cpu", cache_dir=tmp_path)
        np.testing.assert_array_equal(again.extract(pictures(1)), extractor.extract(pictures(1)))
        assert copy.read_bytes() == kept.read_bytes()


class TestKey:
    def test_names_everything_that_decides_a_feature(self) -> None:
        keys = {
            runtime_key("onnxruntime", "float32", "a"),
            runtime_key("torch", "float32", "a"),
            runtime_key("torch", "float16", "a"),
            runtime_key("torch", "float16", "b"),
        }
        assert len(keys) == 4
        assert all(len(key) <= 64 for key in keys)


class TestWeights:
    def test_a_damaged_file_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        damaged = tmp_path / "weights.pth"
        damaged.write_bytes(b"not the weights")
        monkeypatch.setattr(backbones, "_lite0_weights", lambda: damaged)
        with pytest.raises(backbones.WeightsError, match="reinstall"):
            backbones.efficientnet_lite0()

    def test_folded_convolution_equals_convolution_and_norm(
        self, network: backbones.EfficientNetLite0
    ) -> None:
        layer = network.stem
        weight, bias = onnx_graph.fold_norm(layer)
        x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected = layer.norm(layer.conv(x))
            found = torch.nn.functional.conv2d(x, torch.tensor(weight), torch.tensor(bias), stride=2)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
