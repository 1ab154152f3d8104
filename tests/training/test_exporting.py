import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval_bench import methods
from retrieval_bench.cli import main
from retrieval_bench.errors import OptionError
from retrieval_bench.methods import RetrievalMethod
from retrieval_bench.nn.preprocessing import normalize
from retrieval_bench.training import exporting
from retrieval_bench.training.export_networks import DescriptorNetwork, ExportError
from retrieval_bench.training.exporting import export

TRUNK = {"backbone": "resnet18", "weights": "none", "tap": "stride16"}
ANY_SIZE, FIXED = ["batch", 3, "height", "width"], ["batch", 3, 96, 128]


def rmac() -> RetrievalMethod:
    method = methods.RMAC(**TRUNK, levels=2)
    method.whitening.fit(torch.rand(400, 256, generator=torch.Generator().manual_seed(0)))
    return method


def hashing() -> RetrievalMethod:
    return methods.AdaptiveTriplet(
        num_classes=3, backbone="squeezenet1_0", weights="none", block_width=0.1, bits=12, size=64
    ).eval()


def udq() -> RetrievalMethod:
    method = methods.UDQ(**TRUNK, shorter_side=64, dim=6, subspaces=2, codewords=4, proposals_per_image=3).eval()
    method.quantizer.fit(torch.randn(60, 6, generator=torch.Generator().manual_seed(0)))
    return method


def attention() -> RetrievalMethod:
    return methods.RegionalAttention(**TRUNK, whiten=False)


def trained_attention() -> RetrievalMethod:
    return methods.RegionalAttentionTraining(num_classes=3, backbone="resnet18", weights="none", resize=72, crop=64)


def abir() -> RetrievalMethod:
    return methods.ABIR(backbone="squeezenet1_0", weights="none", dim=16, attention_dim=8, resize=72, crop=64).eval()


def gem() -> RetrievalMethod:
    return methods.GlobalPooling("gem", **TRUNK, whiten=False)


CASES: list[tuple[Callable[[], RetrievalMethod], tuple[int, int] | None, list[object], str]] = [
    (abir, None, ["batch", 3, 64, 64], "dot"),
    (hashing, None, ["batch", 3, 64, 64], "hamming"),
    (gem, None, ANY_SIZE, "dot"),
    (rmac, (96, 128), FIXED, "dot"),
    (attention, (96, 128), FIXED, "dot"),
    (trained_attention, None, ["batch", 3, 64, 64], "dot"),
    (udq, None, ANY_SIZE, "adc"),
]


def made(make: Callable[[], RetrievalMethod]) -> RetrievalMethod:
    torch.manual_seed(0)
    return make().eval()


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["onnx", "pt2"])
@pytest.mark.parametrize(("make", "size", "shape", "metric"), CASES, ids=[case[0].__name__ for case in CASES])
def test_every_method_is_exported_to_what_it_is(make, size, shape, metric, ending, tmp_path):
    exported = export(made(make), tmp_path / f"model.{ending}", {"run": "a"}, size)
    assert exported.difference < 1e-5
    assert exported.differing_codes == 0
    facts = json.loads(exported.facts.read_text())
    assert facts["inputs"][0] == {"name": "image", "type": "uint8", "shape": shape}
    assert (facts["metric"], facts["run"]) == (metric, "a")
    assert sorted(x.name for x in tmp_path.iterdir()) == ["model.json", f"model.{ending}"]


def test_onnx_gives_codes_of_pictures_in_batches_of_any_size(tmp_path):
    import onnxruntime

    exported = export(made(hashing), tmp_path / "model.onnx", {})
    image = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(9))
    session = onnxruntime.InferenceSession(exported.file, providers=["CPUExecutionProvider"])
    (codes,) = session.run(["descriptor"], {"image": image.numpy()})
    assert codes.dtype == np.uint8
    with torch.no_grad():
        wanted = made(hashing).embed({"image": normalize(image, "torchvision"), "index": torch.arange(5)})
    assert np.array_equal(codes, wanted.data.numpy())
    facts = json.loads(exported.facts.read_text())
    assert facts["outputs"] == [{"name": "descriptor", "type": "uint8", "shape": ["batch", 2]}]
    assert facts["preprocessing"]["resize"] == {
        "keep_aspect": False,
        "height": 64,
        "width": 64,
        "interpolation": "bilinear, antialiased",
    }
    assert facts["preprocessing"]["mean"] == [0.485, 0.456, 0.406]


def test_nothing_is_left_of_what_computes_something_else(tmp_path, monkeypatch):
    expected = DescriptorNetwork.expected
    monkeypatch.setattr(DescriptorNetwork, "expected", lambda self, image: (expected(self, image)[0] + 1e-3,))
    with pytest.raises(ExportError, match=r"was not written: it differs from the network by 0\.001"):
        export(made(abir), tmp_path / "model.pt2", {})
    assert list(tmp_path.iterdir()) == []


def test_what_no_graph_holds_is_said(tmp_path):
    with pytest.raises(ExportError, match="ClusterMAC cuts every map into clusters"):
        export(methods.ClusterMAC(**TRUNK), tmp_path / "model.onnx", {})
    with pytest.raises(ExportError, match="RMAC has not learned its statistics yet"):
        export(methods.RMAC(**TRUNK), tmp_path / "model.onnx", {}, (96, 96))
    with pytest.raises(OptionError, match="say which size yours will have"):
        export(made(rmac), tmp_path / "model.onnx", {})
    with pytest.raises(OptionError, match=r"must end in \.onnx or \.pt2"):
        export(made(rmac), tmp_path / "model.pth", {}, (96, 96))
    with pytest.raises(OptionError, match="sees pictures of 64 by 64 pixels: leave --size out"):
        export(made(abir), tmp_path / "model.onnx", {}, (96, 96))
    assert list(tmp_path.iterdir()) == []


def test_the_inputs_of_the_check_are_noise_and_smooth_pictures_of_several_sizes():
    network = DescriptorNetwork(made(gem))
    images = [exporting._inputs(network, None, seed)[0] for seed in range(4)]
    assert {tuple(image.shape) for image in images} == {
        (2, 3, 256, 256),
        (3, 3, 224, 256),
        (2, 3, 256, 320),
        (3, 3, 224, 320),
    }
    roughness = [image.float().diff(dim=3).abs().mean() for image in images]
    assert min(roughness[::2]) > 10 * max(roughness[1::2])


def test_a_run_is_exported_with_where_it_comes_from(finished, tmp_path, capsys):
    run: Path = finished("rmac")
    words = ["export", "--run", str(run), "--output", str(tmp_path / "model.pt2"), "--size", "64", "96"]
    assert main(words) == 0
    assert "largest difference from the network" in capsys.readouterr().out
    facts = json.loads((tmp_path / "model.json").read_text())
    assert facts["run"] == "try/oxford5k/rmac/s0"
    assert facts["checkpoint_sha256"] == json.loads((run / "result.json").read_text())["checkpoint"]["sha256"]
    assert main(["export", "--checkpoint", str(tmp_path / "no.ckpt"), "--output", str(tmp_path / "x.onnx")]) == 1
    assert "there is no checkpoint at" in capsys.readouterr().err


def test_an_onnxruntime_that_is_missing_or_refuses_the_file_is_one_line(tmp_path, monkeypatch):
    file = tmp_path / "x.onnx"
    file.write_bytes(b"no network")
    with pytest.raises(ExportError, match="onnxruntime cannot load what was exported"):
        exporting._runner(DescriptorNetwork(abir()), "onnx", file)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExportError, match=r"a package that is not there .*pip install 'retrieval-bench\[export\]'"):
        exporting._runner(DescriptorNetwork(abir()), "onnx", file)


@pytest.mark.parametrize("size", [(0, 96), (96, -1)])
def test_a_size_without_pixels_is_refused(size, tmp_path):
    with pytest.raises(OptionError, match=f"--size {size[0]} {size[1]} is no size of a picture"):
        export(rmac(), tmp_path / "x.pt2", {}, size)
    assert not list(tmp_path.iterdir())
