"""Files and states from elsewhere: nothing that they hold can do more than be refused."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import signed
from tests.untrusted import TARGETS, load_schema, load_state, load_store, make_sampler

WORDS = np.arange(3, dtype="<u8").reshape(3, 1)
HEADER = {
    "n_bits": 2,
    "bit_names": None,
    "arrays": [
        {"name": "words", "dtype": "uint64", "shape": [3, 1]},
        {"name": "pattern_of", "dtype": "uint8", "shape": [4]},
    ],
}

numbers = st.integers() | st.sampled_from([0, 2**31, 2**32, 2**62, 2**63, 2**64, 2**70, -(2**63)])
values = st.recursive(
    st.none() | st.booleans() | numbers | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@st.composite
def changed(draw, content):
    """`content`, one or two of whose values are others."""
    content = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 2))):
        at = content
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(at[key], (dict, list)) and draw(st.booleans()):
                at = at[key]
                continue
            if draw(st.integers(0, 4)) == 0:
                del at[key]
            else:
                at[key] = draw(values)
            break
    return json.dumps(content).encode()


@given(header=changed(HEADER), more=st.binary(max_size=80))
def test_any_header(header, more):
    gap = bytes(-(24 + len(header)) % 64)
    words = WORDS.tobytes() + bytes(64 - WORDS.nbytes)
    load_store(signed(header, gap + words + np.array([0, 1, 2, 2], np.uint8).tobytes() + more))
    load_store(signed(header, more))


@given(content=changed(json.loads(TARGETS["schema"][1][0])))
def test_any_schema(content):
    load_schema(content)


@pytest.mark.filterwarnings("ignore:the state is of")
@given(content=changed(json.loads(TARGETS["state"][1][0])))
def test_any_state(content):
    load_state(content)


@pytest.mark.parametrize("target", TARGETS)
@given(data=st.data())
def test_changed_bytes(target, data):
    load, valid = TARGETS[target]
    content = bytearray(data.draw(st.sampled_from(valid)))
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(content)))
        content[begin : begin + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    load(bytes(content))


@pytest.mark.parametrize("target", TARGETS)
def test_the_valid_ones_are_taken(target):
    load, valid = TARGETS[target]
    assert all(load(content) is not None for content in valid)


# What broke a loader once.
BROKEN = [
    # a shape whose product is 0 and whose numbers are no C integers
    signed(json.dumps({**HEADER, "arrays": [
        {"name": "words", "dtype": "uint64", "shape": [0, 2**70]},
        {"name": "pattern_of", "dtype": "uint8", "shape": [0]},
    ]}).encode(), bytes(64)),
]  # fmt: skip


@pytest.mark.parametrize("content", BROKEN)
def test_what_broke_a_loader_once(content):
    assert load_store(content) is None


def test_states_hold_plain_values(tmp_path):
    """So that torch loads them with weights_only, and JSON keeps them."""
    state = make_sampler().state_dict()
    torch.save(state, tmp_path / "state")
    assert torch.load(tmp_path / "state", weights_only=True) == state
    assert json.loads(json.dumps(state)) == state
