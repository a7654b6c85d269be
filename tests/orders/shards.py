"""Small tar shards, and the plain reading of them."""

import io
import json
import re
import tarfile

import torch

import maninegs_sampling as mn
from tests.conftest import random_store

N = 60
STORE = random_store(N, 14)


def sampler_of(**options):
    """A plan of batches of 4, whose epoch has each of 60 rows once."""
    options = {"batch_size": 4, "mu": mn.LinearAnnealing(9, 0, 30), "seed": 3} | options
    return mn.ManiNegBatchSampler(STORE, coverage="epoch", **options)


def add(tar, name, content=b"", **attributes):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for attribute, value in attributes.items():
        setattr(member, attribute, value)
    tar.addfile(member, io.BytesIO(content))


def write_shards(folder, sizes=(20, 25, 15), *, form=tarfile.USTAR_FORMAT, name="sample-{:03d}"):
    """Write samples of two files each; sample i holds the number i."""
    paths, first = [], 0
    for number, size in enumerate(sizes):
        path = folder / f"shard-{number}.tar"
        with tarfile.open(path, "w", format=form) as tar:
            add(tar, "folder", type=tarfile.DIRTYPE)
            add(tar, "__about__/notes.txt", b"skipped")
            for i in range(first, first + size):
                add(tar, f"{name.format(i)}.json", json.dumps({"row": i}).encode())
                add(tar, f"{name.format(i)}.seg.bin", bytes(i * 37 % 1200))
        first += size
        paths.append(path)
    return paths


def samples_in(path):
    """Return (key, {extension: content}) of each sample, as webdataset groups files."""
    found = []
    with tarfile.open(path) as tar:
        for member in tar:
            if member.isreg() and not member.name.startswith("__"):
                key, extension = re.fullmatch(r"((?:.*/|)[^.]+)\.([^/]*)", member.name).groups()
                if not found or found[-1][0] != key:
                    found.append((key, {}))
                assert extension not in found[-1][1]
                found[-1][1][extension] = tar.extractfile(member).read()
    return found


def rows_in(path):
    return [json.loads(files["json"])["row"] for _, files in samples_in(path)]


def cut(rows, size):
    return [batch.tolist() for batch in torch.tensor(rows).split(size)]
