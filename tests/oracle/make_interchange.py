"""Writes the files of crates/sconce/tests/data/interchange with the tools that own the formats.

Usage: make_interchange.py FOLDER. Needs torch, safetensors, huggingface_hub, gguf, onnx and numpy. Beside the files lies
what those tools read back from them, as expected.json: for each file its tensors' shapes and numbers, and metadata.
"""

import json
import math
import pathlib
import sys

import gguf
import huggingface_hub
import numpy as np
import onnx
import safetensors
import torch
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(sys.argv[1])
EXPECTED = {}


def number(x):
    """A number as JSON has it, in the shortest form that single precision reads back; others as their text."""
    if isinstance(x, np.float32) and np.isfinite(x):
        return float(str(x))
    x = x.item() if hasattr(x, "item") else x
    if isinstance(x, complex):
        return [x.real, x.imag]
    if isinstance(x, float) and not math.isfinite(x):
        return str(x)
    return x


def plain(array):
    if isinstance(array, torch.Tensor):
        array = (array.float() if array.dtype == torch.bfloat16 else array).numpy()
    return {"shape": list(array.shape), "values": [number(x) for x in array.reshape(-1)]}


def expect(file, tensors, metadata=None):
    EXPECTED[file] = {"tensors": {name: plain(t) for name, t in tensors.items()}}
    if metadata is not None:
        EXPECTED[file]["metadata"] = metadata


def ramp(*shape, step=0.125, first=-1.0):
    count = math.prod(shape)
    return (np.arange(count, dtype=np.float32) * step + first).reshape(shape)


def shards():
    """Shards and index as `save_pretrained` of transformers writes them."""
    folder = FOLDER / "shards"
    folder.mkdir(exist_ok=True)
    state = {
        "model.embed_tokens.weight": torch.from_numpy(ramp(6, 4)).bfloat16(),
        "model.layers.0.self_attn.q_proj.weight": torch.from_numpy(ramp(4, 4, step=0.25)).bfloat16(),
        "model.layers.0.input_layernorm.weight": torch.ones(4),
        "model.layers.1.self_attn.q_proj.weight": torch.from_numpy(ramp(4, 4, step=-0.5)).half(),
        "model.position_ids": torch.arange(5),
    }
    huggingface_hub.save_torch_state_dict(state, folder, max_shard_size=80)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    found, metadata = {}, {}
    for file in sorted(set(index["weight_map"].values())):
        with safetensors.safe_open(folder / file, "pt") as shard:
            metadata |= shard.metadata() or {}
            found |= {name: shard.get_tensor(name) for name in shard.keys()}
    assert len(set(index["weight_map"].values())) > 2 and set(found) == set(state)
    expect("shards/model.safetensors.index.json", found, metadata)


def blocks():
    """Blocks and typed metadata by llama.cpp's writer."""
    file = FOLDER / "blocks.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_name("tiny")
    writer.add_block_count(2)
    writer.add_rope_freq_base(10000.5)
    writer.add_token_list(["<s>", "</s>", "é"])
    writer.add_token_scores([0.0, -1.5, -2.5])
    writer.add_token_types([1, 3, 1])
    writer.add_add_bos_token(True)
    writer.add_int64("tiny.wide", -(1 << 40))
    writer.add_float64("tiny.double", 0.1)
    rows = np.sin(np.arange(256, dtype=np.float32)).reshape(1, 256)
    kinds = "F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 TQ1_0 TQ2_0 MXFP4".split()
    for name in kinds:
        kind = gguf.GGMLQuantizationType[name]
        try:
            data = gguf.quantize(rows, kind)
        except NotImplementedError:
            print(f"gguf does not write {name}")
            continue
        writer.add_tensor(f"blk.0.{name.lower()}.weight", data, raw_dtype=kind)
    writer.add_tensor("blk.1.f64.bias", np.array([0.1, -2.5]))
    writer.add_tensor("blk.1.i8.ids", np.array([[-1, 2, 3]], dtype=np.int8))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    reader = gguf.GGUFReader(file)
    found = {t.name: decoded(t) for t in reader.tensors}
    fields = {key: f.contents() for key, f in reader.fields.items() if not key.startswith("GGUF.")}
    expect("blocks.gguf", found, fields)


def decoded(tensor):
    """The numbers of a tensor of a GGUF file; dimensions are stored innermost first."""
    kind = tensor.tensor_type
    shape = [int(n) for n in reversed(tensor.shape)]
    plain = {"F64", "F32", "F16", "I8", "I16", "I32", "I64"}
    data = tensor.data if kind.name in plain else gguf.dequantize(tensor.data, kind)
    return data.reshape(shape)


def graph():
    """An ONNX model with constants, a subgraph, sparse and typed tensors."""
    inner = numpy_helper.from_array(ramp(2, 3), "inner.weight")
    one = helper.make_graph(
        [helper.make_node("Identity", ["inner.weight"], ["then_out"])], "then", [],
        [helper.make_tensor_value_info("then_out", TensorProto.FLOAT, [2, 3])], [inner])
    two = helper.make_graph(
        [helper.make_node("Constant", [], ["else_out"], value=numpy_helper.from_array(ramp(2, 3, step=2), "v"))], "else", [],
        [helper.make_tensor_value_info("else_out", TensorProto.FLOAT, [2, 3])])
    nodes = [
        helper.make_node("Constant", [], ["shift"], value=numpy_helper.from_array(np.array([4, -5], np.int64), "s")),
        helper.make_node("If", ["choice"], ["picked"], name="branch", then_branch=one, else_branch=two),
    ]
    values = helper.make_tensor("embedding", TensorProto.FLOAT, [3], [1.5, -2.0, 0.25])
    indices = helper.make_tensor("embedding_indices", TensorProto.INT64, [3], [0, 4, 11])
    typed = [
        helper.make_tensor("half", TensorProto.FLOAT16, [3], [0.5, -1.0, 65504.0]),
        helper.make_tensor("brain", TensorProto.BFLOAT16, [2], [1.0, -3.0]),
        helper.make_tensor("double", TensorProto.DOUBLE, [2], [0.1, -1e300]),
        helper.make_tensor("wide", TensorProto.UINT64, [2], [0, 2**64 - 1]),
        helper.make_tensor("small", TensorProto.INT8, [3], [-128, 0, 127]),
        helper.make_tensor("flags", TensorProto.BOOL, [3], [True, False, True]),
        helper.make_tensor("plane", TensorProto.COMPLEX64, [2], [1 + 2j, -0.5j]),
    ]
    graph = helper.make_graph(
        nodes, "tiny", [helper.make_tensor_value_info("choice", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("picked", TensorProto.FLOAT, [2, 3])], typed,
        sparse_initializer=[helper.make_sparse_tensor(values, indices, [3, 4])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], producer_name="oracle")
    model.metadata_props.add(key="author", value="tiny")
    onnx.checker.check_model(model)
    onnx.save(model, FOLDER / "graph.onnx")
    read = onnx.load(FOLDER / "graph.onnx").graph
    found = {t.name: numpy_helper.to_array(t) for t in read.initializer}
    found |= {
        "brain": found["brain"].astype(np.float32),
        "shift": numpy_helper.to_array(read.node[0].attribute[0].t),
        "branch.then_branch.inner.weight": ramp(2, 3),
        "branch.else_branch.else_out": ramp(2, 3, step=2),
        "embedding.values": np.array([1.5, -2.0, 0.25], np.float32),
        "embedding.indices": np.array([0, 4, 11]),
    }
    expect("graph.onnx", found, {"author": "tiny", "embedding.shape": "[3, 4]"})

    outside = helper.make_graph(
        [], "outside", [], [helper.make_tensor_value_info("w", TensorProto.FLOAT, [8, 8])],
        [numpy_helper.from_array(ramp(8, 8), "w"), numpy_helper.from_array(ramp(8, step=3).astype(np.float16), "b")])
    model = helper.make_model(outside, opset_imports=[helper.make_opsetid("", 21)])
    onnx.save(model, FOLDER / "outside.onnx", save_as_external_data=True, location="outside.bin", size_threshold=0)
    read = onnx.load(FOLDER / "outside.onnx").graph
    expect("outside.onnx", {t.name: numpy_helper.to_array(t) for t in read.initializer}, {})


def arrays():
    """Archives of arrays, one compressed, with every kind of number."""
    arrays = {
        "conv/kernel": ramp(2, 3, 4),
        "fortran": np.asfortranarray(ramp(3, 5)),
        "big": ramp(4).astype(">f8"),
        "half": ramp(3).astype(np.float16),
        "ids": np.array([2**40, -1]),
        "bytes": np.array([0, 255], np.uint8),
        "flag": np.array(True),
        "plane": np.array([1 - 2j, 3j], np.complex64),
        "none": np.zeros((0, 4), np.float32),
    }
    for file, save in (("arrays.npz", np.savez), ("arrays_compressed.npz", np.savez_compressed)):
        save(FOLDER / file, **arrays)
        with np.load(FOLDER / file) as found:
            expect(file, {name: found[name] for name in found.files})


def training():
    """A training run's checkpoint: a compiled and parallel model, its optimiser, its schedule."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for _ in range(2):
        optimizer.zero_grad()
        net(torch.randn(4, 3)).square().mean().backward()
        optimizer.step()
        schedule.step()
    state = {"module._orig_mod." + name: value for name, value in net.state_dict().items()}
    checkpoint = {
        "state_dict": state,
        "ema": {name: value.bfloat16() for name, value in state.items() if value.is_floating_point()},
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": schedule.state_dict(),
        "scaler": scaler.state_dict(),
        "rng": torch.get_rng_state()[:16].clone(),
        "epoch": 2,
        "best": (0.75, [torch.tensor([1.0, 2.0])]),
    }
    torch.save(checkpoint, FOLDER / "training.pt")
    loaded = torch.load(FOLDER / "training.pt", weights_only=True)
    found = {}

    def walk(value, path):
        if isinstance(value, torch.Tensor):
            found[path] = value
        elif isinstance(value, dict):
            for key, item in value.items():
                walk(item, f"{path}.{key}".lstrip("."))
        elif isinstance(value, (list, tuple)):
            for i, item in enumerate(value):
                walk(item, f"{path}.{i}")

    walk(loaded, "")
    expect("training.pt", found)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for write in (shards, blocks, graph, arrays, training):
        write()
    lines = ",\n".join(f"{json.dumps(file)}: {json.dumps(what)}" for file, what in EXPECTED.items())
    (FOLDER / "expected.json").write_text("{\n" + lines + "\n}\n")


main()
