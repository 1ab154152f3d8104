import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from method_cases import coded_regions
from pytorch_lightning import Trainer, seed_everything
from torch.nn.functional import cross_entropy

from retrieval_bench.datamodules import CubDataModule, Oxford5kDataModule
from retrieval_bench.errors import OptionError
from retrieval_bench.losses.quantization import discriminability
from retrieval_bench.methods import UDQ
from retrieval_bench.methods.udq_parts import CodewordClassifiers
from retrieval_bench.methods.udq_start import balanced_scale, principal_axes
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth, RaggedLists
from retrieval_bench.retrieval.quantization import ProductQuantizer
from retrieval_bench.retrieval.search import search

SMALL = {"backbone": "resnet18", "weights": "none", "tap": "stride16", "shorter_side": 64, "longest_side": 96}


def small(**options: object) -> UDQ:
    return UDQ(
        **{
            **SMALL,
            "proposals_per_image": 6,
            "dim": 8,
            "subspaces": 2,
            "codewords": 4,
            "train_backbone": False,
            **options,
        }
    )


@pytest.fixture(scope="module")
def trained(miniature, tmp_path_factory) -> tuple[UDQ, list[int], Trainer]:
    """Two rounds on a miniature, the epochs at which codebooks were made, and its trainer."""
    folder = tmp_path_factory.mktemp("udq")
    seed_everything(0, verbose=False)
    method, epochs = small(rounds=1, epochs_per_round=1), []
    fit = method.quantizer.fit

    def counted(*args, **kwargs):
        epochs.append(method.trainer.current_epoch)
        return fit(*args, **kwargs)

    method.quantizer.fit = counted
    trainer = Trainer(
        default_root_dir=folder,
        max_epochs=-1,
        accelerator="cpu",
        use_distributed_sampler=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
    )
    trainer.fit(method, datamodule=CubDataModule(miniature, num_workers=0))
    return method, epochs, trainer


def test_codebooks_are_made_before_after_and_between_rounds(trained):
    method, epochs, trainer = trained
    assert epochs == [0, 0, 1]
    assert trainer.current_epoch == 2
    assert method.learned_from.startswith("the 120 searched pictures of cub")


def test_the_last_codes_are_those_of_the_last_features(trained):
    method, _, _ = trained
    with torch.no_grad():
        features = method.feature(method._cached().vectors.flatten(0, 1))
    assert torch.equal(method.quantizer.encode(features), method._codes.flatten(0, 1))


def test_training_brought_features_nearer_to_what_their_codes_say(trained):
    method, _, _ = trained
    first = small()
    with torch.no_grad():
        cached = method._cached()
        centre, axes = principal_axes(cached.blocks(), 256, 8)
        first.centre.copy_(centre)
        first.projection.weight.copy_(axes)
        first.projection.bias.zero_()
        shares = []
        for one in (first, method):
            features = one.feature(cached.vectors.flatten(0, 1))
            quantizer = ProductQuantizer(8, 2, 4)
            shares.append(quantizer.fit(features)[-1] / float(features.var(0, unbiased=False).sum()))
    assert shares[1] < shares[0]


def test_the_projection_starts_as_pca():
    vectors = torch.randn(500, 12, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.arange(12.0))
    centre, axes = principal_axes(iter(vectors.split(70)), 12, 5)
    ours = (vectors.double() - centre) @ axes.T
    _, _, directions = torch.linalg.svd(vectors.double() - vectors.double().mean(0), full_matrices=False)
    theirs = (vectors.double() - vectors.double().mean(0)) @ directions[:5].T
    torch.testing.assert_close(ours.abs(), theirs.abs())


def test_at_the_balanced_scale_both_losses_are_alike_by_chance():
    x = torch.randn(300, 10, generator=torch.Generator().manual_seed(0))
    quantizer = ProductQuantizer(10, 4, 16)
    quantizer.fit(x)
    codes = quantizer.encode(x)
    scale = balanced_scale(quantizer, x, codes)
    quantizer.codebooks.mul_(scale)
    assert torch.equal(quantizer.encode(scale * x), codes)
    loss = discriminability(quantizer.rotate(scale * x), quantizer.decode(codes))
    assert 0.01 * float(loss) == pytest.approx(4 * math.log(16), rel=1e-4)


def test_one_codeword_leaves_the_scale_as_it_is():
    x = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    quantizer = ProductQuantizer(6, 2, 1)
    quantizer.fit(x)
    assert balanced_scale(quantizer, x, quantizer.encode(x)) == 1.0


def gradients(method: UDQ, loss: torch.Tensor) -> list[torch.Tensor | None]:
    return list(torch.autograd.grad(loss, [*method.projection.parameters(), *method.classifiers.parameters()]))


def test_with_a_weight_of_zero_cross_entropy_alone_is_learned():
    method = small(discriminability_weight=0.0)
    method.log_dict = lambda *args, **kwargs: None
    batch = coded_regions(method)
    loss = method.training_step(batch, 0)
    scores = method.classifiers(method.quantizer.rotate(method.feature(batch["vectors"])))
    alone = sum(cross_entropy(scores[:, m], batch["codes"][:, m].long()) for m in range(2))
    torch.testing.assert_close(loss, alone)
    for ours, theirs in zip(gradients(method, loss), gradients(method, alone), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_codebooks_and_rotation_are_not_trained():
    method = small()
    assert not {name for name, _ in method.named_parameters() if name.startswith("quantizer.")}
    assert not any(p.requires_grad for p in method.backbone.parameters())


def test_classifiers_that_start_at_sharp_codebooks_make_no_mistake():
    x = torch.randn(400, 12, generator=torch.Generator().manual_seed(0))
    quantizer = ProductQuantizer(12, 3, 16)
    quantizer.fit(x)
    classifiers = CodewordClassifiers(3, 4, 16)
    classifiers.start_at_codebooks(quantizer.codebooks, 100.0)
    assert torch.equal(classifiers(quantizer.rotate(x)).argmax(2), quantizer.encode(x).long())


def with_codes(method: UDQ) -> UDQ:
    """As in training: three pictures, rows 4, 7 and 9, each of its six proposals with a code of its own."""
    method.quantizer.fit(torch.randn(20, 8, generator=torch.Generator().manual_seed(0)))
    method._codes = torch.arange(3 * 6 * 2).view(3, 6, 2) % 4
    data = SimpleNamespace(seed=0, database_rows=np.array([4, 7, 9]))
    method._trainer = SimpleNamespace(datamodule=data, current_epoch=1)
    method.log_dict = lambda *args, **kwargs: None
    return method


def test_regions_drawn_to_learn_from_keep_their_codes():
    method = with_codes(small(train_backbone=True, regions_per_step=4))
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    vectors, codes = method.coded_regions({"image": image, "index": torch.tensor([9, 4])})
    assert (len(vectors), len(codes)) == (8, 8)
    every = method.region_vectors(image, method.proposals({"image": image}))
    for picture, row in ((0, 2), (1, 0)):
        drawn = slice(4 * picture, 4 * picture + 4)
        match = torch.cdist(vectors[drawn], every[picture]).argmin(1)
        assert len(match.unique()) == 4
        torch.testing.assert_close(vectors[drawn], every[picture][match])
        assert torch.equal(codes[drawn], method._codes[row, match])
    alone, _ = method.coded_regions({"image": image[1:], "index": torch.tensor([4])})
    torch.testing.assert_close(alone, vectors[4:])
    method.trainer.current_epoch = 2
    later, _ = method.coded_regions({"image": image[1:], "index": torch.tensor([4])})
    assert not torch.allclose(later, alone)


def test_the_loss_reaches_the_trunk_from_its_third_group_on_whatever_the_scale_of_features():
    norms, projections = [], []
    for scale in (1.0, 50.0):
        torch.manual_seed(0)
        method = with_codes(small(train_backbone=True, regions_per_step=4))
        method.feature_scale.fill_(scale)
        # Both losses have the gradient that they have at a scale of 1.
        method.projection.weight.data.div_(scale)
        method.projection.bias.data.div_(scale)
        image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
        method.training_step({"image": image, "index": torch.tensor([7])}, 0).backward()
        trained = [(name, p) for name, p in method.named_parameters() if p.requires_grad]
        assert all(p.grad is not None and p.grad.any() for _, p in trained)
        trunk = [p for name, p in trained if name.startswith("backbone.")]
        norms.append(torch.cat([p.grad.flatten() for p in trunk]).norm())
        projections.append(method.projection.weight.grad)
    torch.testing.assert_close(norms[0], 50 * norms[1], rtol=1e-3, atol=0)  # as the weights on the way
    torch.testing.assert_close(*projections, rtol=1e-3, atol=1e-6)


def test_proposals_of_a_file_are_trimmed_or_come_again(tmp_path):
    boxes = torch.rand(2, 8, 4)
    batch = {"image": torch.zeros(2, 3, 64, 96), "proposals": boxes}
    assert torch.equal(small(proposals=str(tmp_path)).proposals(batch), boxes[:, :6])
    again = small(proposals=str(tmp_path), proposals_per_image=10).proposals(batch)
    assert torch.equal(again, torch.cat([boxes, boxes[:, :2]], 1))
    assert not torch.equal(small().proposals(batch), boxes[:, :6])
    named = small(proposals=f"{tmp_path}/{{backbone}}").preprocessing.proposals
    assert named == tmp_path / "resnet18"


def as_if_searched(features: torch.Tensor, image: list[int], query: torch.Tensor) -> tuple[Descriptors, Descriptors]:
    quantizer = ProductQuantizer(features.shape[1], 4, 16)
    quantizer.fit(torch.randn(400, features.shape[1], generator=torch.Generator().manual_seed(5)))
    asked = quantizer.as_queries(Descriptors(query, torch.tensor([99]), "euclidean"))
    return asked, quantizer.as_gallery(Descriptors(features, torch.tensor(image), "euclidean"))


def test_more_proposals_bring_an_image_nearer_and_their_order_changes_nothing():
    generator = torch.Generator().manual_seed(1)
    features, query = torch.randn(12, 8, generator=generator), torch.randn(1, 8, generator=generator)
    image = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    asked, gallery = as_if_searched(features, image, query)
    whole = search(asked, gallery, top=4)
    mixed = torch.randperm(12, generator=generator)
    again = search(asked, Descriptors(gallery.data[mixed], gallery.image[mixed], "adc"), top=4)
    by_image = {int(i): s for i, s in zip(whole.image[0], whole.score[0], strict=True)}
    assert by_image == {int(i): s for i, s in zip(again.image[0], again.score[0], strict=True)}
    fewer = torch.arange(12) % 3 < 2
    part = search(asked, Descriptors(gallery.data[fewer], gallery.image[fewer], "adc"), top=4)
    assert all(s <= by_image[int(i)] for i, s in zip(part.image[0], part.score[0], strict=True))


def test_an_image_with_a_proposal_like_the_query_comes_first():
    features = torch.randn(40, 8, generator=torch.Generator().manual_seed(2))
    asked, gallery = as_if_searched(features, [i // 2 for i in range(40)], features[17:18])
    assert search(asked, gallery, top=1).image[0, 0] == 8


def test_a_query_is_its_window_in_the_map_of_the_whole_picture():
    method = small()
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    batch = {"image": image, "index": torch.tensor([3]), "window": torch.tensor([[16.0, 16, 48, 48]])}
    described = method.embed(batch)
    assert described.boxes[0].tolist() == [16, 16, 48, 48]
    assert described.boxes[1:].tolist() == method.proposals(batch)[0].tolist()
    expected = method.feature(method.region_vectors(image, batch["window"][:, None]))[0, 0]
    torch.testing.assert_close(described.data[0], expected)
    whole = method.embed({"image": image, "index": batch["index"], "box": batch["window"]})
    assert whole.boxes[0].tolist() == [0, 0, 96, 64]
    boxed = small(query_region="box").embed({"image": image, "index": batch["index"], "box": batch["window"]})
    assert boxed.boxes[0].tolist() == [16, 16, 48, 48]


def test_landmarks_are_learned_without_queries_and_boxes_return_to_the_original(drawn):
    data = Oxford5kDataModule(root=drawn("oxford5k"), protocol="crop-x", num_workers=0)
    data.preprocessing = small().preprocessing
    assert data.database_rows.tolist() == data.table.rows("gallery").tolist()
    batch = next(iter(data.picture_dataloader(data.table.rows("query")[:1])))
    original = data.original_boxes(batch["box"], batch["index"])
    torch.testing.assert_close(original[0], torch.from_numpy(data.table.box[int(batch["index"][0])]))


def test_the_share_of_positives_in_which_the_query_is_found_at_its_place():
    table = SimpleNamespace(
        path=("a", "b", "c", "a"),
        box=np.array([[0, 0, np.inf, np.inf], [0, 0, 4, 4], [0, 0, 4, 4], [2, 2, 6, 6]], np.float32),
    )
    truth = GroundTruth(
        np.array([3]), np.array([0, 1, 2]), RaggedLists.from_lists([[0, 1, 2]]), RaggedLists.from_lists([[]])
    )
    boxes = torch.tensor([[2.0, 2, 6, 7], [0, 0, 1, 1], [0, 0, 4, 3], [9, 9, 10, 10]])
    features = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    method = small()
    method.searched = (
        Descriptors(torch.tensor([[1.0, 0]]), torch.tensor([3]), "euclidean"),
        Descriptors(features, torch.tensor([0, 1, 2, 2]), "euclidean", boxes),
    )
    data = SimpleNamespace(ground_truth=truth, table=table, protocol=SimpleNamespace(image_crop="none"))
    # In its own picture, a, by its own box; in b nowhere near; in c at three quarters.
    assert method.further_metrics(data)["localisation_at_50"].tolist() == pytest.approx([2 / 3])
    table.box = None
    assert method.further_metrics(data) == {}


@pytest.mark.parametrize(("codewords", "size"), [(512, 9), (256, 8)])
def test_a_proposal_takes_m_times_the_bits_of_a_codeword(codewords, size):
    method = UDQ(**{**SMALL, "tap": "last"}, codewords=codewords)
    assert method.bytes_per_image == 200 * size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 257}, "dim is 257: the 256 channels of resnet18's map have 1 to 256"),
        ({"rounds": -1}, "rounds is -1"),
        ({"quantize": False}, "set rounds to null"),
        ({"classifier_start": "warm"}, "classifier_start cannot be 'warm'; it is random, codebook, kept"),
        ({"refinement": "abc"}, "unknown refinement"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(OptionError, match=message):
        small(**options)


def test_boxes_in_pictures_that_the_protocol_crops_are_not_said_to_be_in_the_original(miniature):
    data = CubDataModule(miniature, num_workers=0)
    method = small()
    data.preprocessing = method.preprocessing
    rows = data.ground_truth.gallery[:2]
    truth = SimpleNamespace(query=rows, gallery=rows)
    boxes = torch.tensor([[0.0, 0, 4, 4], [4, 4, 8, 8]]).repeat(2, 1)
    described = Descriptors(torch.randn(4, 8), torch.from_numpy(rows).repeat_interleave(2), "euclidean", boxes)
    for crop, known in (("none", True), ("box", False)):
        protocol = replace(data.protocol, image_crop=crop)
        seen = SimpleNamespace(ground_truth=truth, protocol=protocol, original_boxes=data.original_boxes)
        gallery = method.searchable(described, seen)[1]
        assert gallery.image.tolist() == rows.tolist()
        assert (gallery.boxes is not None) == known
