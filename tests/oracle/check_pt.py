"""Loads the files that crates/sconce/tests/io_oracle.rs writes, and compares every value.

Usage: check_pt.py FOLDER (see README.md). Needs torch and numpy; checks the safetensors files too if that package is there.
"""

import collections
import math
import pathlib
import sys

import numpy as np
import torch

FOLDER = pathlib.Path(sys.argv[1])
RECORDED = pathlib.Path(__file__).parents[2] / "conformance/corpus/files/good"


def pattern(count, seed):
    return bytes((i * 31 + seed * 7 + 1) & 255 for i in range(count))


def raw(tensor):
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    tensor = tensor.detach().contiguous()
    return bytes(tensor.untyped_storage())[tensor.storage_offset() * tensor.element_size() :][: tensor.nbytes]


def same(a, b, path, storages):
    assert type(a) is type(b), (path, type(a), type(b))
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride(), path
        assert a.storage_offset() == b.storage_offset() and a.requires_grad == b.requires_grad, path
        assert raw(a) == raw(b), path
        tie = storages.setdefault(a.untyped_storage()._cdata, b.untyped_storage()._cdata)
        assert tie == b.untyped_storage()._cdata, (path, "a tie is lost")
    elif isinstance(a, dict):
        assert list(a) == list(b), path
        for key in a:
            same(a[key], b[key], f"{path}.{key}", storages)
        if hasattr(a, "_metadata"):
            same(a._metadata, b._metadata, f"{path}._metadata", storages)
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b)):
            same(x, y, f"{path}.{i}", storages)
    elif isinstance(a, float) and math.isnan(a):
        assert math.isnan(b), path
    else:
        assert a == b, (path, a, b)


def same_arrays(recorded, path):
    a, b = np.load(recorded), np.load(path)
    pairs = [(a, b)] if isinstance(a, np.ndarray) else [(a[name], b[name]) for name in a.files]
    for x, y in pairs:
        # Numbers are turned to little-endian ones.
        assert x.shape == y.shape and x.dtype.newbyteorder("<") == y.dtype, path
        assert np.array_equal(x, y, equal_nan=x.dtype.kind in "fc"), path


def load(path):
    return torch.load(path, weights_only=True)


DTYPES = (
    "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool uint16 uint32 uint64 complex32 complex64 "
    "complex128 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu"
).split()


def check_dtypes(found, names):
    assert type(found) in (dict, collections.OrderedDict)
    for i, name in enumerate(names):
        tensor = found[name]
        assert tensor.dtype == getattr(torch, name) and tensor.shape == (2, 3), name
        expected = bytes([1, 0, 1, 1, 0, 0]) if name == "bool" else pattern(tensor.nbytes, i)
        assert raw(tensor) == expected, name
    assert found["empty"].shape == (2, 0)
    assert found["scalar"].shape == () and raw(found["scalar"]) == pattern(8, 50)
    assert len(found) == len(names) + 2


def check_tied(found):
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    model.load_state_dict(found, strict=True)
    assert torch.equal(model[1].weight, torch.arange(9.0).reshape(3, 3) / 8)
    assert torch.equal(model[0].bias, torch.tensor([1, -2, 0.5]))


def check_checkpoint(found):
    model, w = found["model"], found["model"]["w"]
    assert type(model) is collections.OrderedDict and model._metadata == {"": {"version": 1}}
    assert found["again"] is model and found["optimizer"]["state"][0]["exp_avg"] is w
    assert type(w) is torch.nn.Parameter and w.requires_grad
    assert type(model["f"]) is torch.nn.Parameter and not model["f"].requires_grad and model["f"].item() == 2.5
    assert type(model["l"]) is torch.Tensor and model["l"].requires_grad and model["l"].item() == 3.5
    assert torch.equal(w, torch.arange(24.0).reshape(4, 6)) and torch.equal(model["t"], w.t())
    assert model["t"].stride() == (1, 6) and model["e"].stride() == (0, 0) and model["e"].tolist() == [[5.0] * 3] * 2
    assert w.data_ptr() == model["t"].data_ptr()
    group = {"lr": 1e-3, "betas": (0.9, 0.999), "foreach": None, "maximize": False}
    assert found["optimizer"]["param_groups"] == [group]
    assert math.isnan(found["nan"])
    expected = {
        "epoch": 5,
        "large": -(1 << 40),
        "wide": 1 << 80,
        "z": 1 - 2j,
        "text": 'ключ 名 "q"\n',
        "bytes": bytes([0, 127, 128, 255]),
        "no bytes": b"",
        "bytearray": bytearray(b"ab"),
        "size": torch.Size([2, 3]),
        "dtype": torch.bfloat16,
        "device": torch.device("cpu"),
        "set": {0.9, 0.999},
        "empty": (),
    }
    for key, value in expected.items():
        assert type(found[key]) is type(value) and found[key] == value, (key, found[key])


def network():
    first, tied = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
    tied.weight = first.weight
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(), torch.nn.Flatten(), first, tied
    )


def check_network(found):
    torch.manual_seed(0)
    # In the order in which the Rust side makes the layers.
    tied, first, conv = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8), torch.nn.Conv2d(1, 2, 3)
    model = network()
    model.load_state_dict(found, strict=True)
    assert torch.equal(model[0].weight, conv.weight) and torch.equal(model[0].bias, conv.bias)
    assert torch.equal(model[4].weight, first.weight) and torch.equal(model[5].bias, tied.bias)


def check_resumed(found, make):
    assert list(found) == ["model", "optimizer", "epoch", "losses"] and found["epoch"] == 5
    assert found["model"]["4.weight"].data_ptr() == found["model"]["5.weight"].data_ptr(), "the tie is lost"
    model = network()
    model.load_state_dict(found["model"], strict=True)
    optimizer = make(model.parameters())
    expected = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict(found["optimizer"])
    assert [sorted(g) for g in expected] == [sorted(g) for g in found["optimizer"]["param_groups"]]
    assert optimizer.state_dict()["param_groups"] == expected
    x = (torch.arange(32) * 7 % 11).reshape(2, 1, 4, 4) / 11
    for loss in found["losses"]:
        optimizer.zero_grad()
        mine = (model(x) ** 2).mean()
        mine.backward()
        optimizer.step()
        assert abs(mine.item() - loss) <= 1e-5 * abs(loss), (mine.item(), loss)


def main():
    check_dtypes(load(FOLDER / "dtypes.pt"), DTYPES)
    check_tied(load(FOLDER / "tied.pt"))
    tied = load(FOLDER / "tied.pt")
    assert tied["0.weight"].data_ptr() == tied["1.weight"].data_ptr(), "the tie is lost"
    check_checkpoint(load(FOLDER / "checkpoint.pt"))
    mapped = torch.load(FOLDER / "checkpoint.pt", weights_only=True, mmap=True)
    check_checkpoint(mapped)
    torch.utils.serialization.config.load.calculate_storage_offsets = True
    check_checkpoint(torch.load(FOLDER / "checkpoint.pt", weights_only=True, mmap=True))
    torch.utils.serialization.config.load.calculate_storage_offsets = False

    check_network(load(FOLDER / "network.pt"))
    check_resumed(load(FOLDER / "resume_adamw.pt"), lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True))
    check_resumed(load(FOLDER / "resume_sgd.pt"), lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9))

    rewritten = arrays = 0
    for path in sorted((FOLDER / "rewritten").iterdir()):
        if path.suffix in (".npy", ".npz"):
            same_arrays(RECORDED / path.name, path)
            arrays += 1
        elif path.suffix in (".pt", ".bin") and "protocol" not in path.name:
            same(load(RECORDED / path.name), load(path), path.name, {})
            rewritten += 1
    print(f"torch {torch.__version__}: 6 files and {rewritten} rewritten ones load with weights_only=True and are equal")
    print(f"numpy {np.__version__}: {arrays} rewritten files load and are equal")

    try:
        from safetensors.torch import load_file
    except ImportError:
        print("safetensors is not installed: its files are not checked")
        return
    check_dtypes(load_file(FOLDER / "dtypes.safetensors"), [n for n in DTYPES if n not in ("complex32", "complex128")])
    check_tied(load_file(FOLDER / "tied.safetensors"))
    check_network(load_file(FOLDER / "network.safetensors"))
    for path in sorted((FOLDER / "rewritten").glob("*.safetensors")):
        try:
            recorded = load_file(RECORDED / path.name)
        except Exception as error:
            print(f"{path.name}: not loaded by safetensors.torch ({error})")
            continue
        found = load_file(path)
        assert set(recorded) == set(found), path.name
        for name in recorded:
            assert recorded[name].dtype == found[name].dtype and raw(recorded[name]) == raw(found[name]), name
    print("the safetensors files load and are equal")


main()
