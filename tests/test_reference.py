"""The reference training: data, steps, resuming, evaluation and tables."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars
import pytest
import torch
from matplotlib.image import imread
from scipy import stats
from sklearn.metrics import roc_auc_score

import maninegs_sampling as mn

for framework in ("kornia", "lightning_fabric", "monai", "pydicom", "tensorboard", "torchmetrics"):
    pytest.importorskip(framework, reason=f"{framework} comes with the extra dev-all")

from lightning_fabric import Fabric
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks.examples import image_text, siamese
from benchmarks.reference import augmentation, cbis_ddsm, mvkl, tables
from benchmarks.reference.__main__ import loader, main
from benchmarks.reference.data import split_by_patient
from benchmarks.reference.evaluation import linear_probe, train_classifier, trait_auc
from benchmarks.reference.images import around_lesion, read_image, square
from benchmarks.reference.networks import ContrastiveModel, image_encoder
from benchmarks.reference.phantom import LOG_ODDS, PHANTOM, PHANTOMS
from benchmarks.reference.presets import CPU, GPU_25MIN, PAPER, PRESETS, SMOKE
from benchmarks.reference.pretraining import Views, batch_sampler, learning_rate, pretrain
from benchmarks.reference.rendering import Scanner, power_law, render
from benchmarks.reference.runs import Run, perform

ROOT = Path(__file__).parents[1]
SMALL = replace(PHANTOM, n=160)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return SMALL.load(tmp_path_factory.mktemp("images"), 32)


@pytest.fixture(scope="module")
def fabric():
    made = Fabric(accelerator="cpu", devices=1, precision="32-true")
    made.launch()
    return made


# The phantom


def bits_of(*names):
    assert set(names) <= set(mn.MVKL.bit_names)
    return np.array([name in names for name in mn.MVKL.bit_names])


MASS = (
    "mass shape=round",
    "mass edge=well-circumscribed",
    "mass density=median",
    "mass size=2-5cm",
)
SPECKS = (
    "calcification shape=branching",
    "calcification size=coarse",
    "calcification density=high",
    "calcification distribution=scattered",
)


def with_trait(name):
    """A lesion with a trait, and the same one without it or with another of its options."""
    trait = name.partition("=")[0]
    base = MASS + SPECKS if trait.startswith("calcification") else MASS
    others = [n for n in mn.MVKL.bit_names if n.partition("=")[0] == trait and n != name]
    rest = [n for n in base if n.partition("=")[0] != trait]
    return bits_of(*rest, name), bits_of(*rest, *others[:1])


@pytest.mark.parametrize("name", mn.MVKL.bit_names)
def test_each_trait_is_seen_in_both_views(name):
    present, absent = with_trait(name)
    for size in (64, 128):
        noiseless = Scanner(noise=0.0)
        mean = [
            np.mean(
                [render(b, np.random.default_rng(i), size, noiseless) for i in range(30)], axis=0
            )
            for b in (present, absent)
        ]
        # Over 30 lesions the backgrounds average out to about 1 grey level.
        difference = np.abs(mean[0] - mean[1])
        assert (np.percentile(difference, 99.5, axis=(1, 2)) > 4).all()


def test_same_lesion_for_the_same_seed_only():
    bits = bits_of(*MASS)
    first, again, other = (render(bits, np.random.default_rng(s), 48, Scanner()) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 3
    assert first.shape == (2, 48, 48)
    assert first.dtype == np.uint8


def test_views_share_half_of_their_background():
    views = [render(bits_of(), np.random.default_rng(i), 64, Scanner()) for i in range(40)]
    correlations = [np.corrcoef(v[0].ravel(), v[1].ravel())[0, 1] for v in views]
    assert abs(np.mean(correlations) - 0.5) < 0.1


@pytest.mark.parametrize("exponent", [2.0, 3.0])
def test_background_has_the_stated_spectrum(exponent):
    fields = [power_law(np.random.default_rng(i), 128, exponent) for i in range(20)]
    power = np.mean([np.abs(np.fft.fft2(field)) ** 2 for field in fields], axis=0)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(128)] * 2))
    band = (frequency > 0.02) & (frequency < 0.4)
    slope = np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0]
    assert abs(slope + exponent) < 0.1


def test_visibility_scales_traits_and_nothing_else():
    def drawn(visibility):
        scanner = Scanner(noise=0.0, visibility=visibility)
        return render(bits_of(*MASS), np.random.default_rng(3), 64, scanner).astype(float)

    contrast = {v: drawn(v) - drawn(0.0) for v in (1.0, 0.5, 0.25)}
    assert contrast[1.0].max() > 40
    for visibility in (0.5, 0.25):  # but for rounding to whole gray levels
        assert np.abs(contrast[visibility] - visibility * contrast[1.0]).max() <= 1.5


def test_fainter_phantoms_show_the_same_lesions(cases, tmp_path):
    steps = [PHANTOMS[name] for name in ("phantom", "phantom-dim", "phantom-faint")]
    assert [p.scanner.visibility for p in steps] == [1.0, 0.5, 0.25]
    faint = replace(PHANTOMS["phantom-faint"], n=SMALL.n).load(tmp_path, 32)
    np.testing.assert_array_equal(faint.labels, cases.labels)
    np.testing.assert_array_equal(faint.part, cases.part)
    np.testing.assert_array_equal(faint.store.to_dense(), cases.store.to_dense())
    assert (faint.images != cases.images).mean() > 0.3


def test_phantom_is_deterministic_and_cached(cases, tmp_path):
    again = SMALL.load(tmp_path, 32)
    np.testing.assert_array_equal(cases.images, again.images)
    np.testing.assert_array_equal(cases.labels, again.labels)
    (file,) = tmp_path.iterdir()
    made = file.stat().st_mtime_ns
    SMALL.load(tmp_path, 32)
    assert [p.stat().st_mtime_ns for p in tmp_path.iterdir()] == [made]
    assert not (replace(SMALL, seed=5).load(tmp_path, 32).images == cases.images).all()


def test_phantom_has_the_papers_ratios(tmp_path):
    whole = PHANTOM.load(tmp_path, 4)
    assert abs(whole.labels.mean() - 1883 / 2764) < 0.02
    assert [round(len(whole.rows(part)) / 2764, 2) for part in range(3)] == [0.7, 0.1, 0.2]
    assert abs(len(np.unique(whole.patients)) - 2671) < 40
    scores = whole.store.to_dense() @ [LOG_ODDS.get(name, 0) for name in mn.MVKL.bit_names]
    # neither hopeless nor given away by the manifestation
    assert 0.8 < roc_auc_score(whole.labels, scores) < 0.95
    # nor by how bright a patch is
    assert roc_auc_score(whole.labels, whole.images.mean((1, 2, 3))) < 0.7


def test_log_odds_name_traits():
    assert set(LOG_ODDS) <= set(mn.MVKL.bit_names)


def test_a_patient_is_in_one_part():
    patients = np.random.default_rng(0).integers(0, 300, 1000)
    part = split_by_patient(patients, seed=0)
    assert all(len(set(part[patients == p])) == 1 for p in np.unique(patients))
    shares = np.bincount([part[patients == p][0] for p in np.unique(patients)]) / len(
        np.unique(patients)
    )
    np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=0.01)


# Cases in files


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((160, 2, 8, 8))}, "must be .160, 2, size, size. uint8"),
        ({"images": np.zeros((9, 2, 8, 8), np.uint8)}, "must be .160, 2, size, size. uint8"),
        ({"labels": np.zeros(3, np.int64)}, "labels must hold 160 values"),
        ({"labels": np.zeros(160, np.int64)}, "training part holds .* benign and malignant"),
    ],
)
def test_cases_that_do_not_fit(cases, change, message):
    with pytest.raises(mn.errors.InvalidValueError, match=message):
        replace(cases, **change)


def write_dicom(path, pixels):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * pixels.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def write_png(path, pixels):
    path = path.with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("write", [write_dicom, write_png])
def test_cbis_ddsm_in_the_archives_layout(cbis_files, tmp_path, write):
    rng = np.random.default_rng(0)
    kept = {}
    for file in cbis_files:
        table = polars.read_csv(file, infer_schema=False)
        patients = table["patient_id"].unique(maintain_order=True)[:14]
        kept[Path(file).name] = table.filter(polars.col("patient_id").is_in(patients.implode()))
        kept[Path(file).name].write_csv(tmp_path / Path(file).name)
    bright = {}
    for name, table in kept.items():
        kind, part = name.split("_")[0].title(), "Test" if "test" in name else "Training"
        for row in table.rows(named=True):
            image = f"{kind}-{part}_{row['patient_id']}_{row['left or right breast']}_{row['image view']}"
            whole = tmp_path / "CBIS-DDSM" / image / "1.2" / "3.4" / "1-1.dcm"
            if image not in bright:
                bright[image] = rng.integers(20_000, 60_000)
                write(whole, np.full((90, 70), bright[image], np.uint16))
            mask = np.zeros((90, 70), np.uint8)
            mask[35:55, 25:45] = 255
            folder = tmp_path / "CBIS-DDSM" / f"{image}_{row['abnormality id']}" / "1.2" / "3.4"
            # which of the two is the mask differs in the archive, too
            swapped = int(rng.integers(2))
            write(folder / f"1-{1 + swapped}.dcm", mask)
            write(folder / f"1-{2 - swapped}.dcm", np.full((20, 20), 30_000, np.uint16))
    made = cbis_ddsm.load(tmp_path, tmp_path / "cache", 16)

    rows = cbis_ddsm.read_tables(tmp_path)
    assert len(rows) == sum(map(len, kept.values()))
    lesions = cbis_ddsm.lesion_views(rows)
    assert len(made.labels) == len(lesions) < len(rows)
    lone = [first == second for first, second in lesions]
    assert 0 < sum(lone) < len(lone)
    for views, images in zip(lesions, made.images, strict=True):
        for view, pixels in zip(views, images, strict=True):
            expected = bright[rows["image"][view]] / 65535 * 255
            assert np.abs(pixels.astype(float) - expected).max() <= 1
    assert (made.part[[rows["set"][v[0]] == "Test" for v in lesions]] == 2).all()
    shared = set(made.patients[made.part == 0]) & set(made.patients[made.part == 1])
    assert not shared
    assert [rows["pathology"][v[0]] == "MALIGNANT" for v in lesions] == made.labels.astype(
        bool
    ).tolist()

    (tmp_path / "mass_case_description_test_set.csv").unlink()
    with pytest.raises(mn.errors.InvalidValueError, match="lacks mass_case_description_test_set"):
        cbis_ddsm.load(tmp_path, tmp_path / "cache", 16)


def test_cbis_ddsm_tables_make_the_published_split(cbis_files, tmp_path):
    rows = cbis_ddsm.read_tables(Path(cbis_files[0]).parent)
    assert len(rows) == 3568
    lesions = cbis_ddsm.lesion_views(rows)
    assert {view for views in lesions for view in views} == set(range(3568))
    # The readers of the two views did not always choose the same words.
    bits = mn.CBIS_DDSM.encode(rows)
    pairs = [(a, b) for a, b in lesions if a != b]
    assert len(pairs) == 1518
    assert sum((bits[a] != bits[b]).any() for a, b in pairs) == 246
    with pytest.raises(
        mn.errors.InvalidValueError, match="no image in a folder Mass-Training_P_0000"
    ):
        cbis_ddsm.load(Path(cbis_files[0]).parent, tmp_path, 16)


def test_mvkl_folder(tmp_path):
    store, labels = mn.synthetic_mvkl(40)
    columns = {trait.name: [] for trait in mn.MVKL.traits}
    for row in store.to_dense():
        present = {
            n.partition("=")[0]: n.partition("=")[2] or "1"
            for n, b in zip(mn.MVKL.bit_names, row, strict=True)
            if b
        }
        for trait in mn.MVKL.traits:
            columns[trait.name].append(present.get(trait.name, "0" if trait.kind == "flag" else ""))
    Image.fromarray(np.full((20, 10), 200, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((20, 20), 100, np.uint8)).save(tmp_path / "b.png")
    both = {"patient": [f"p{i // 2}" for i in range(40)], "label": labels, "cc": ["a.png"] * 40}
    table = polars.DataFrame({**columns, **both, "mlo": ["b.png"] * 39 + [None]})
    table.write_csv(tmp_path / "cases.csv")
    made = loader(f"mvkl={tmp_path}")(tmp_path / "cache", 8)
    np.testing.assert_array_equal(made.store.to_dense(), store.to_dense())
    np.testing.assert_array_equal(made.labels, labels)
    assert made.images[0, 0, 4].tolist()[3:5] == pytest.approx(
        [200, 200], abs=10
    )  # between black borders
    assert made.images[0, 0, 4, 0] == 0
    assert (made.images[0, 1] == 100).all()
    np.testing.assert_array_equal(made.images[39, 0], made.images[39, 1])

    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(mn.errors.InvalidValueError, match=r"b\.png cannot be read as an image"):
        mvkl.load(tmp_path, tmp_path / "other", 8)
    table.drop("patient").write_csv(tmp_path / "cases.csv")
    with pytest.raises(mn.errors.InvalidValueError, match="lacks the columns"):
        mvkl.load(tmp_path, tmp_path / "cache", 8)


def test_unknown_data():
    with pytest.raises(
        mn.errors.InvalidValueError,
        match="one of phantom, phantom-film, phantom-dim, phantom-faint, cbis-ddsm",
    ):
        loader("cbis-ddsm")


def test_crop_is_square_with_context_and_black_beyond_the_image():
    image = np.arange(300 * 400, dtype=np.float32).reshape(300, 400)
    mask = np.zeros((150, 200))  # half the size
    mask[0:100, 10:20] = 1
    crop = around_lesion(image, mask)
    assert crop.shape == (300, 300)  # 1.5 x 200 rows
    assert (crop[:50] == 0).all()  # above the image
    np.testing.assert_array_equal(crop[50:, 120:], image[:250, :180])
    with pytest.raises(mn.errors.InvalidValueError, match="the mask is empty"):
        around_lesion(image, np.zeros((3, 3)))
    assert square(crop / crop.max(), 32).shape == (32, 32)


def test_sixteen_bit_png(tmp_path):
    Image.fromarray(np.full((3, 4), 32768, np.uint16)).save(tmp_path / "x.png")
    np.testing.assert_allclose(read_image(tmp_path / "x.png"), 0.5, atol=1e-4)


# Augmentation and networks


def test_augmentation_is_random_for_each_image_and_seeded():
    images = torch.from_numpy(render(bits_of(*MASS), np.random.default_rng(0), 32, Scanner()))
    many = images[:1].expand(64, -1, -1)
    torch.manual_seed(0)
    first = augmentation.augmented(many)
    torch.manual_seed(0)
    torch.testing.assert_close(first, augmentation.augmented(many), rtol=0, atol=0)
    assert first.shape == (64, 1, 32, 32)
    assert len(torch.unique(first.flatten(1), dim=0)) == 64
    assert first.isfinite().all()


def test_augmentation_moves_pixels_as_often_and_as_far_as_stated():
    # A ramp shows where a pixel of the new image comes from.
    n, size = 4000, 33
    torch.manual_seed(1)
    area = []
    amount = {name: torch.zeros(n) for name in augmentation.OPERATIONS}
    warp = augmentation._warp(amount, n, torch.device("cpu"), 0.5)
    area = (warp[:, 0, 0] * warp[:, 1, 1]).abs()
    assert area.min() > 0.49  # type: ignore[attr-defined]
    assert area.max() <= 1  # type: ignore[attr-defined]
    assert abs((warp[:, 0, 0] < 0).float().mean() - 0.5) < 0.04  # flips
    corners = torch.tensor([[-1.0, -1, 1], [1, 1, 1]]).T
    assert (warp @ corners).abs().max() <= 1 + 1e-5  # no crop leaves the image
    drawn = torch.rand(n, len(augmentation.OPERATIONS)).topk(2).indices
    share = torch.bincount(drawn.ravel(), minlength=10) / n
    torch.testing.assert_close(share, torch.full((10,), 0.2), atol=0.03, rtol=0)
    assert size


def test_resnet50_is_the_papers_and_takes_imagenet_weights(tmp_path):
    network = image_encoder("resnet50")
    # torchvision's ResNet50 has 23,508,032 weights before its last layer, 6,272 of them for two
    # more colours; ours ends in 2048 x 128
    n = sum(p.numel() for p in network.parameters())
    assert n == 23_508_032 - 2 * 64 * 49 + 2048 * 128
    names = {k: v for k, v in network.state_dict().items() if not k.startswith("fc")}
    names["conv1.weight"] = torch.rand(64, 3, 7, 7)
    torch.save({**names, "fc.weight": torch.rand(1000, 2048)}, tmp_path / "weights.pt")
    loaded = image_encoder("resnet50", tmp_path / "weights.pt")
    torch.testing.assert_close(loaded.conv1.weight, names["conv1.weight"].sum(1, keepdim=True))
    torch.testing.assert_close(loaded.layer4[2].conv3.weight, names["layer4.2.conv3.weight"])
    torch.save({"conv1.weight": torch.rand(64, 3, 7, 7)}, tmp_path / "other.pt")
    with pytest.raises(mn.errors.InvalidValueError, match="does not hold the weights"):
        image_encoder("resnet50", tmp_path / "other.pt")


def test_model_is_eq_5_and_eq_6():
    torch.manual_seed(0)
    cc, mlo = torch.randn(2, 8, 1, 16, 16)
    bits, patterns = torch.randint(0, 2, (8, 35)).float(), torch.arange(8)
    for multimodal in (False, True):
        model = ContrastiveModel(
            image_encoder("small"),
            35,
            multimodal=multimodal,
            vmf=False,
            temperature=0.7,
            gather=False,
        ).eval()
        loss, positive, negative = model(cc, mlo, bits, patterns)
        z_cc, z_mlo = model.projector(model.encoder(torch.cat([cc, mlo]))).chunk(2)
        expected = mn.nt_xent(z_cc, z_mlo, temperature=0.7)
        if multimodal:
            z_m = model.embed_manifestations(bits)
            inter = [
                mn.inter_modal_nt_xent(z, z_m, temperature=0.7, symmetric=False)
                for z in (z_cc, z_mlo)
            ]
            expected = expected + sum(inter) / 2
        torch.testing.assert_close(loss, expected)
        cosines = torch.nn.functional.normalize(z_cc) @ torch.nn.functional.normalize(z_mlo).T
        torch.testing.assert_close(positive, cosines.diagonal().mean())
        torch.testing.assert_close(negative, cosines[~torch.eye(8, dtype=bool)].mean())


# Pretraining


def test_paper_preset_is_table_iii():
    assert (PAPER.steps, PAPER.warmup_steps, PAPER.batch_size, PAPER.image_size) == (
        9000,
        300,
        64,
        256,
    )
    assert (PAPER.mu_start, PAPER.mu_end, PAPER.sigma, PAPER.temperature) == (11, 0, 3, 0.7)
    rates = [learning_rate(step, PAPER) * PAPER.peak_rate for step in (0, 300, 4650, 9000)]
    np.testing.assert_allclose(rates, [1e-7, 1e-4, (1e-4 + 1e-7) / 2, 1e-7], rtol=1e-6)
    linear, tuned = PAPER.linear, PAPER.finetuning
    assert (linear.peak_rate, linear.min_rate, linear.weight_decay) == (1e-3, 1e-6, 1e-6)
    assert (tuned.peak_rate, tuned.min_rate, tuned.weight_decay, tuned.encoder_rate) == (
        5e-5,
        5e-7,
        5e-5,
        0.1,
    )
    assert all((c.epochs, c.patience, c.batch_size) == (1000, 100, 48) for c in (linear, tuned))
    assert set(PRESETS) == {"paper", "gpu-25min", "cpu", "smoke"}


@pytest.mark.parametrize("sampler", ["uniform", "vmf", "manineg"])
def test_batches_from_a_step_on_are_the_rest(cases, fabric, sampler):
    views = Views(cases, 0)
    preset = replace(SMOKE, steps=25)
    whole = list(batch_sampler(sampler, views.store, preset, 3, 0, fabric))
    assert len(whole) == 25
    assert all(len(batch) == len(set(batch)) == 16 for batch in whole)
    for start in (1, 7, 24):
        assert list(batch_sampler(sampler, views.store, preset, 3, start, fabric)) == whole[start:]


def test_vmf_differs_from_uniform_in_its_loss_only(cases, fabric):
    views = Views(cases, 0)
    batches = [list(batch_sampler(s, views.store, SMOKE, 0, 0, fabric)) for s in ("uniform", "vmf")]
    assert batches[0] == batches[1]


def train_until_killed(folder, killed_after, steps):
    """Run pretraining in a process that is killed with SIGKILL some seconds after its first step."""
    script = f"""
import sys, torch
from dataclasses import replace
from pathlib import Path
from lightning_fabric import Fabric
from benchmarks.reference.presets import SMOKE
from benchmarks.reference.phantom import PHANTOM
from benchmarks.reference.pretraining import pretrain
torch.set_num_threads(1)
fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
fabric.launch()
folder = Path({str(folder)!r})
cases = replace(PHANTOM, n=160).load(folder, 32)
preset = replace(SMOKE, steps={steps}, checkpoint_seconds=0.0)
_, history = pretrain(fabric, cases, preset, "multimodal", "manineg", 1, folder)
torch.save(history, folder / "history.pt")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if killed_after is None:
        assert process.wait() == 0
        return
    checkpoint, deadline = folder / "checkpoint.pt", time.monotonic() + 120
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    while process.poll() is None and time.monotonic() < deadline:
        if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
            time.sleep(killed_after)
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_five_times_and_resumed_has_the_same_loss_curve(tmp_path):
    steps = 150
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    train_until_killed(tmp_path / "whole", None, steps)
    seen = []
    for delay in np.random.default_rng(0).uniform(0, 0.3, 5):
        train_until_killed(tmp_path / "killed", delay, steps)
        state = torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)
        seen.append(state["step"])
    assert not (tmp_path / "killed" / "history.pt").exists(), "it was to be killed before its end"
    assert seen == sorted(seen)
    assert len(set(seen)) > 1
    train_until_killed(tmp_path / "killed", None, steps)
    whole, killed = (
        torch.load(tmp_path / name / "history.pt", weights_only=True)
        for name in ("whole", "killed")
    )
    torch.testing.assert_close(killed, whole, rtol=0, atol=0)
    assert (whole[-20:, 0].mean() < whole[:20, 0].mean()).item()  # it learns something


def test_checkpoint_of_other_settings_is_refused(cases, fabric, tmp_path):
    pretrain(fabric, cases, SMOKE, "unimodal", "uniform", 0, tmp_path)
    with pytest.raises(mn.errors.StateError, match="made with other settings"):
        pretrain(fabric, cases, SMOKE, "unimodal", "uniform", 1, tmp_path)
    model, history = pretrain(fabric, cases, SMOKE, "unimodal", "uniform", 0, tmp_path)
    assert history.shape == (12, 4)
    events = list(tmp_path.glob("events*"))
    assert len(events) == 1
    assert isinstance(model, ContrastiveModel)


@pytest.mark.parametrize("sampler", ["uniform", "manineg"])
def test_two_devices_split_the_batches_of_one(cases, fabric, sampler):
    store = Views(cases, 0).store
    whole = list(batch_sampler(sampler, store, SMOKE, 0, 3, fabric))
    ranks = [SimpleNamespace(world_size=2, global_rank=rank) for rank in (0, 1)]
    shares = [list(batch_sampler(sampler, store, SMOKE, 0, 3, rank)) for rank in ranks]
    assert [len(share) for share in shares] == [len(whole)] * 2
    for first, second, batch in zip(*shares, whole, strict=True):
        assert len(first) == len(second) == 8
        assert sorted(first + second) == sorted(batch)


def test_two_devices_train_nearly_as_one(tmp_path):
    """Only batch statistics and augmentation are each process's own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "benchmarks.reference", "pretrain", "--preset", "smoke"]
    folder = tmp_path / "phantom-smoke" / "multimodal-manineg-0"
    curves = []
    for devices in ("1", "2"):
        subprocess.run(
            [*command, "--devices", devices, "--out", str(tmp_path)],
            cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300,
        )  # fmt: skip
        state = torch.load(folder / "checkpoint.pt", weights_only=True)
        curves.append(state["history"][:, 0])
        folder.rename(tmp_path / devices)
    # Without negatives from the other process the loss would be lower by log 2 in each of 2 terms.
    assert (curves[0] - curves[1]).abs().max() < 0.5


# Evaluation and tables


def separable(cases, noise):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((len(cases.labels), 8)).astype(np.float32)
    features[:, 0] = cases.labels + noise * features[:, 0]
    return features


def test_linear_probe_tells_what_is_there(cases):
    assert linear_probe(separable(cases, 0.01), cases, CPU) > 0.99
    assert abs(linear_probe(separable(cases, 100.0), cases, CPU) - 0.5) < 0.35
    bits = cases.store.to_dense().astype(np.float32)
    assert trait_auc(bits, cases) > 0.99


class Brightness(torch.nn.Module):
    """Features that are the mean and the deviation of the pixels."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(128))

    def forward(self, views):
        flat = views.flatten(1)
        both = torch.stack([flat.mean(1), flat.std(1)], 1)
        return torch.nn.functional.pad(both, (0, 126)) * self.scale


@pytest.mark.parametrize("encoder_rate", [0.0, 0.1])
def test_classifier_learns_and_freezes_as_told(cases, fabric, tmp_path, encoder_rate):
    images = np.random.default_rng(0).integers(0, 60, (160, 2, 16, 16)).astype(np.uint8)
    images[cases.labels == 1, :, 4:12, 4:12] += 150
    easy = replace(cases, images=images)
    settings = replace(CPU.linear, encoder_rate=encoder_rate, epochs=8, peak_rate=0.1)
    encoder = Brightness()
    auc = train_classifier(fabric, encoder, easy, settings, 0, tmp_path / "LE.pt")
    assert auc > 0.95
    torch.testing.assert_close(encoder.scale, torch.ones(128))  # the caller's is left alone
    assert not list(tmp_path.iterdir())  # its checkpoint is gone


def test_classifier_stops_when_it_no_longer_gets_better(cases, fabric, tmp_path, monkeypatch):
    from benchmarks.reference import evaluation

    aucs = iter([0.6, 0.7, 0.65, 0.7, 0.69, 0.9, 0.9])
    calls = []
    monkeypatch.setattr(
        evaluation, "test_auc", lambda m, c, part, f: calls.append(part) or next(aucs)
    )
    settings = replace(CPU.linear, epochs=50, patience=3)
    assert train_classifier(fabric, Brightness(), cases, settings, 0, tmp_path / "LE.pt") == 0.9
    assert calls == [1, 1, 1, 1, 1, 2]  # best at the second, three more, then the test part


def test_smoke_table_from_the_command_line(tmp_path, capsys, monkeypatch):
    arguments = ["table", "--preset", "smoke", "--seeds", "1", "--out", str(tmp_path)]
    main([*arguments, "--modes", "multimodal"])
    printed = capsys.readouterr().out
    assert "Table VI: multimodal pretraining, tested on phantom " in printed
    assert "Table VII: multimodal pretraining, tested on phantom-film " in printed
    assert "ManiNeg - uniform" in printed
    folder = tmp_path / "phantom-smoke"
    record = json.loads((folder / "table.json").read_text())
    assert len(record["results"]) == 4
    assert {r["run"]["sampler"] for r in record["results"]} == {"none", "uniform", "vmf", "manineg"}
    for result in record["results"]:
        for name in ("phantom", "phantom-film"):
            assert all(0 <= result[f"{name} {p}"] <= 1 for p in tables.PROTOCOLS)
    assert record["preset"]["image_size"] == 32
    assert (folder / "alignment.png").stat().st_size > 5000
    main(["diagnose", "--preset", "smoke", "--out", str(tmp_path)])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "ManiNeg |" in line]
    assert len(rows) == 1
    assert len(rows[0]) == 15  # an empty one at either end, and two of names
    cosines = [float(cell.split()[0]) for cell in rows[0][3:8]]
    assert cosines[0] > cosines[-1]  # equal manifestations look more alike than far ones
    # All is there, so that nothing is run again.
    monkeypatch.setattr("benchmarks.reference.runs.pretrain", None)
    main([*arguments, "--modes", "multimodal"])
    assert capsys.readouterr().out == printed


def test_other_commands(tmp_path, capsys, monkeypatch):
    small = {p.name: replace(p, n=160) for p in PHANTOMS.values()}
    monkeypatch.setattr("benchmarks.reference.__main__.PHANTOMS", small)
    main(["sheet", "--out", str(tmp_path), "--size", "16"])
    pictures = [
        tmp_path / f"{name}.png" for name in (*small, *(f"{name}-traits" for name in small))
    ]
    assert all(imread(picture).shape[1] >= 256 for picture in pictures)
    main(["speed", "--preset", "smoke", "--steps", "2", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.count("of a step") == 4
    with pytest.raises(SystemExit, match="data are one of phantom, phantom-film"):
        main(["table", "--data", "nothing", "--out", str(tmp_path)])


def test_gpu_preset_with_its_sizes_cut(cases, tmp_path):
    short = {"epochs": 1, "batch_size": 64}
    preset = replace(
        GPU_25MIN,
        image_size=32,
        steps=2,
        batch_size=8,
        linear=replace(GPU_25MIN.linear, **short),
        finetuning=replace(GPU_25MIN.finetuning, **short),
    )
    fabric = Fabric(accelerator="cpu", devices=1, precision=preset.precision)
    fabric.launch()
    result = perform(Run("multimodal", "manineg", 0), fabric, [cases], preset, tmp_path)
    assert {"phantom LP", "phantom LE", "phantom FT", "cosine distances"} < set(result)
    assert result["versions"]["torch"] == torch.__version__


def test_result_of_other_settings_is_refused(cases, fabric, tmp_path):
    run = Run("unimodal", "none", 0)
    quick = replace(SMOKE, image_size=32)
    perform(run, fabric, [cases], quick, tmp_path)
    with pytest.raises(mn.errors.StateError, match="made with other settings"):
        perform(run, fabric, [cases], replace(quick, steps=13), tmp_path)


def test_intervals_are_students():
    differences = [0.5, 1.5, 1.0, 3.0]
    mean, low, high = tables.interval(differences)
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    np.testing.assert_allclose([mean, low, high], [1.5, expected.low, expected.high])
    assert math.isnan(tables.interval([1.0])[1])


def fake(mode, sampler, seed, auc):
    run = {"run": {"mode": mode, "sampler": sampler, "seed": seed}, "d traits": 0.5}
    return run | {f"d {protocol}": auc for protocol in tables.PROTOCOLS}


def test_table_pairs_by_seed():
    results = [fake("unimodal", "uniform", s, 0.6 + s / 10) for s in (0, 1, 2)]
    results += [fake("unimodal", "manineg", s, 0.61 + s / 10) for s in (2, 0, 1)]
    text = tables.auc_table(results, "unimodal", 0, "d")
    row = next(line for line in text.splitlines() if "ManiNeg - uniform" in line)
    assert "+1.00 [+1.00, +1.00]" in row
    assert "+2.75" in row  # the paper's own LP difference, 60.46 - 57.71
    assert "70.00 ± 10.00" in text
    assert "vMF" not in text


@pytest.mark.parametrize("example", [image_text, siamese])
def test_examples_learn(example):
    losses = example.main(steps=40)
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_missing_extra_is_named():
    script = (
        "import sys; sys.modules['kornia'] = None; sys.modules['kornia.enhance'] = None\n"
        "import runpy; runpy.run_module('benchmarks.reference', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "'.[reference]'" in done.stderr
