"""Lets `sconce` convert, edit and prune files, and reads what it wrote with the tools that own the formats.

Usage: check_command.py SCONCE. SCONCE is the command to check, such as target/release/sconce. Needs torch, safetensors,
gguf, onnx and numpy; with pyarrow, and a command with the feature `parquet`, Parquet files are read too.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import onnx
import torch
import torch.nn.utils.prune
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open
from safetensors.torch import load_file, save_file

SCONCE = sys.argv[1]
DATA = pathlib.Path(__file__).parents[2] / "crates/sconce/tests/data/interchange"


def sconce(*arguments, code=0):
    done = subprocess.run([SCONCE, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    return done


class Net(torch.nn.Module):
    """Every kind of layer that a checkpoint may name, and a tie."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(64, 32)
        self.conv = torch.nn.Conv1d(32, 32, 3)
        self.norm = torch.nn.BatchNorm1d(32)
        self.head = torch.nn.Linear(32, 64)
        self.head.weight = self.embed.weight


def equal(found, expected, tolerance=0.0):
    assert set(found) == set(expected), set(found) ^ set(expected)
    for name, x in expected.items():
        y = torch.as_tensor(found[name].copy()) if isinstance(found[name], np.ndarray) else found[name]
        assert y.shape == x.shape, (name, y.shape, x.shape)
        assert tolerance or y.dtype == x.dtype, (name, y.dtype, x.dtype)
        error = (y.double() - x.double()).abs().max().item() if x.numel() else 0.0
        assert error <= tolerance, (name, error)


def torch_files(folder, net, state):
    source = folder / "net.safetensors"
    save_file({k: v.clone() for k, v in state.items()}, source, metadata={"format": "pt"})
    sconce("convert", source, folder / "net.pt", "--no-metadata")
    loaded = torch.load(folder / "net.pt", weights_only=True)
    fresh = Net()
    fresh.load_state_dict(loaded, strict=True)
    equal(fresh.state_dict(), state)

    torch.save(state, folder / "own.pt")
    sconce("edit", folder / "own.pt", "fill **.bias 0", "scale conv.weight 2", "cast norm.weight float64", "rename conv.* cnn.*",
           "-o", folder / "edited.pt")
    edited = torch.load(folder / "edited.pt", weights_only=True)
    expected = {name.replace("conv.", "cnn."): value.clone() for name, value in state.items()}
    for name in expected:
        if name.endswith(".bias"):
            expected[name].zero_()
    expected["cnn.weight"] *= 2
    expected["norm.weight"] = expected["norm.weight"].double()
    equal(edited, expected)
    assert list(edited) == list(expected), "the order is another"
    assert edited["embed.weight"].data_ptr() == edited["head.weight"].data_ptr(), "the tie is lost"

    sconce("edit", folder / "own.pt", "fill **.bias 0", "--in-place")
    in_place = {name: torch.zeros_like(v) if name.endswith(".bias") else v for name, v in state.items()}
    for options in ({}, {"mmap": True}):
        equal(torch.load(folder / "own.pt", weights_only=True, **options), in_place)
    Net().load_state_dict(torch.load(folder / "own.pt", weights_only=True), strict=True)

    sconce("prune", folder / "own.pt", "conv.weight", "--amount", "30%", "-o", folder / "pruned.pt")
    pruned = torch.load(folder / "pruned.pt", weights_only=True)
    copy = Net()
    copy.load_state_dict(in_place)
    torch.nn.utils.prune.l1_unstructured(copy.conv, "weight", 0.3)
    equal({"w": pruned["conv.weight"]}, {"w": copy.conv.weight.detach()})
    sconce("prune", folder / "own.pt", "conv.weight", "--amount", "30%", "--layout", "mask", "-o", folder / "masks.pt")
    masked = torch.load(folder / "masks.pt", weights_only=True)
    fresh = Net()
    torch.nn.utils.prune.identity(fresh.conv, "weight")
    fresh.load_state_dict(masked, strict=True)
    equal({"w": fresh.conv.weight_orig * fresh.conv.weight_mask}, {"w": copy.conv.weight.detach()})

    sconce("edit", DATA / "training.pt", "scale state_dict.** 2", "-o", folder / "training.pt")
    before, after = (torch.load(path, weights_only=True) for path in (DATA / "training.pt", folder / "training.pt"))
    numbers = {name: v * 2 if v.is_floating_point() else v * 2 for name, v in before["state_dict"].items()}
    equal(after["state_dict"], numbers)
    for key in ("lr_scheduler", "scaler", "epoch"):
        assert before[key] == after[key], key
    assert before["optimizer"]["param_groups"] == after["optimizer"]["param_groups"]
    equal(after["optimizer"]["state"][0], before["optimizer"]["state"][0])


def safetensors_files(folder, state):
    torch.save(state, folder / "net.bin")
    sconce("convert", folder / "net.bin", folder / "whole.safetensors")
    equal(load_file(folder / "whole.safetensors"), state)
    sconce("convert", folder / "net.bin", folder / "model.safetensors.index.json", "--shard-size", "10KB")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 1 and index["metadata"]["total_size"] == sum(v.nbytes for v in state.values())
    found = {}
    for file in files:
        with safe_open(folder / file, "pt") as shard:
            for name in shard.keys():
                assert index["weight_map"][name] == file
                found[name] = shard.get_tensor(name)
    equal(found, state)
    types = {f"t.{t}": torch.arange(6).to(t).reshape(2, 3) for t in (
        torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
        torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64)}
    torch.save(types, folder / "types.pt")
    sconce("convert", folder / "types.pt", folder / "types.safetensors")
    found = load_file(folder / "types.safetensors")
    for name, x in types.items():
        assert found[name].dtype == x.dtype and torch.equal(found[name].view(torch.uint8), x.view(torch.uint8)), name
    sconce("prune", folder / "whole.safetensors", "head.weight", "--method", "2:4", "-o", folder / "nm.safetensors")
    rows = load_file(folder / "nm.safetensors")["head.weight"].reshape(-1, 4)
    assert ((rows != 0).sum(1) <= 2).all()


def gguf_numbers(path):
    """The tensors of a file as numbers, and their types and the metadata."""
    reader = gguf.GGUFReader(path)
    numbers, kinds = {}, {}
    for t in reader.tensors:
        kind = t.tensor_type.name
        data = t.data if kind in ("F64", "F32", "F16", "I8", "I64") else gguf.dequantize(t.data, t.tensor_type)
        numbers[t.name] = np.asarray(data, np.float32 if kind not in ("F64", "I8", "I64") else None).reshape([int(n) for n in reversed(t.shape)])
        kinds[t.name] = kind
    fields = {key: f.contents() for key, f in reader.fields.items() if not key.startswith("GGUF.")}
    return numbers, kinds, fields


def gguf_files(folder, state):
    floats = {name: v for name, v in state.items() if v.is_floating_point()}
    save_file({k: v.clone() for k, v in floats.items()}, folder / "floats.safetensors")
    matrices = "embed.weight head.weight".split()
    for dtype, kind in (("float32", "F32"), ("float16", "F16"), ("bfloat16", "BF16"), ("Q8_0", "Q8_0"), ("Q4_0", "Q4_0")):
        path = folder / f"{kind}.gguf"
        sconce("edit", folder / "floats.safetensors", *(f"cast {name} {dtype}" for name in matrices), "-o", path)
        numbers, kinds, _ = gguf_numbers(path)
        assert all(kinds[name] == kind for name in matrices), kinds
        for name, x in floats.items():
            want = x.numpy()
            if name in matrices and kind not in ("F32",):
                q = gguf.GGMLQuantizationType[kind]
                want = gguf.dequantize(gguf.quantize(want, q), q)
            assert np.array_equal(numbers[name], want), (kind, name, np.abs(numbers[name] - want).max())
    sconce("edit", DATA / "blocks.gguf", "scale blk.0.f32.weight 2", "-o", folder / "scaled.gguf")
    before, after = gguf_numbers(DATA / "blocks.gguf"), gguf_numbers(folder / "scaled.gguf")
    assert before[1] == after[1] and before[2] == after[2], "types or metadata differ"
    for name, x in before[0].items():
        assert np.array_equal(after[0][name], x * 2 if name == "blk.0.f32.weight" else x), name
    (folder / "own.gguf").write_bytes((DATA / "blocks.gguf").read_bytes())
    sconce("edit", folder / "own.gguf", "fill blk.0.f16.weight 3", "--in-place")
    after = gguf_numbers(folder / "own.gguf")
    assert (after[0]["blk.0.f16.weight"] == 3).all() and after[2] == before[2]
    sconce("convert", DATA / "blocks.gguf", folder / "numbers.safetensors", "--dtype", "float32", "--no-metadata")
    found = load_file(folder / "numbers.safetensors")
    for name, x in before[0].items():
        assert np.array_equal(found[name].numpy().astype(np.float32), x.astype(np.float32)), name


def numpy_files(folder, state):
    torch.save(state, folder / "state.pt")
    sconce("convert", folder / "state.pt", folder / "state.npz")
    with np.load(folder / "state.npz") as found:
        equal({name: found[name] for name in found.files}, state)
    sconce("edit", folder / "state.npz", "clamp conv.weight -0.01 0.01", "-o", folder / "clamped.npz")
    with np.load(folder / "clamped.npz") as found:
        equal({"w": found["conv.weight"]}, {"w": state["conv.weight"].clamp(-0.01, 0.01)})
    sconce("edit", folder / "state.pt", "keep head.bias", "-o", folder / "bias.npy", "--flat")
    assert np.array_equal(np.load(folder / "bias.npy"), state["head.bias"].numpy())
    np.save(folder / "fortran.npy", np.asfortranarray(np.arange(12.0).reshape(3, 4)))
    sconce("edit", folder / "fortran.npy", "scale ** -1", "-o", folder / "scaled.npy")
    assert np.array_equal(np.load(folder / "scaled.npy"), -np.arange(12.0).reshape(3, 4))
    np.savez(folder / "own.npz", a=np.arange(5.0), b=np.arange(3))
    sconce("edit", folder / "own.npz", "add a 1", "--in-place")
    with np.load(folder / "own.npz") as found:
        assert np.array_equal(found["a"], np.arange(5.0) + 1) and np.array_equal(found["b"], np.arange(3))


def onnx_files(folder):
    w, b = np.arange(8, dtype=np.float32).reshape(4, 2), np.array([1.0, -1.0], np.float32)
    typed = helper.make_tensor("t", TensorProto.FLOAT, [2], [5.0, 6.0])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Add", ["y", "b"], ["z"]), helper.make_node("Add", ["z", "t"], ["out"])],
        "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])], [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(b, "b"), typed])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    path = folder / "own.onnx"
    onnx.save(model, path)
    sconce("edit", path, "scale w 2", "fill b 0.5", "add t 1", "--in-place")
    onnx.checker.check_model(onnx.load(path), full_check=True)
    found = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    for name, want in (("w", w * 2), ("b", np.full(2, 0.5, np.float32)), ("t", np.array([6.0, 7.0], np.float32))):
        assert np.array_equal(found[name], want), name
    sconce("prune", path, "w", "--amount", "4", "--in-place")
    assert (numpy_helper.to_array(onnx.load(path).graph.initializer[0]) == 0).sum() == 4
    onnx.save(model, folder / "out.onnx", save_as_external_data=True, location="out.bin", size_threshold=0)
    sconce("edit", folder / "out.onnx", "scale w 2", "--in-place")
    onnx.checker.check_model(str(folder / "out.onnx"))
    found = {t.name: numpy_helper.to_array(t) for t in onnx.load(folder / "out.onnx").graph.initializer}
    assert np.array_equal(found["w"], w * 2) and np.array_equal(found["b"], b)


def parquet_files(folder):
    import pyarrow.parquet

    path = folder / "rows.parquet"
    files = [DATA / name for name in ("training.pt", "blocks.gguf", "arrays.npz")]
    sconce("stats", *files, "--bins", "5", "--hash", "--parquet", path)
    lines = sconce("stats", *files, "--bins", "5", "--hash").stdout.splitlines()
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert len(rows) == len(lines) > 40
    for row, line in zip(rows, map(json.loads, lines)):
        assert {k: v for k, v in row.items() if v is not None} == {k: v for k, v in line.items() if v is not None}


def main():
    torch.manual_seed(0)
    net = Net()
    state = net.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, check in (
            ("PyTorch", lambda: torch_files(folder, net, state)),
            ("safetensors", lambda: safetensors_files(folder, state)),
            ("GGUF", lambda: gguf_files(folder, state)),
            ("NumPy", lambda: numpy_files(folder, state)),
            ("ONNX", lambda: onnx_files(folder)),
            ("Parquet", lambda: parquet_files(folder)),
        ):
            check()
            print(f"{name}: files written by sconce hold what is expected")


main()
