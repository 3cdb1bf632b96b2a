"""PyTorch's side of the benchmark; usage: torch_twin.py MIB, the size of the model that is written to files.

Reads lines "CALLS CLOCK NAME" and answers each with the seconds per call; 0 calls drop what the line has made.
The lines of .safetensors files need the package safetensors.
"""
import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter, thread_time

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

import torch_models

MI = 1 << 20


class SimpleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3)
        self.fc1 = nn.Linear(16 * 26 * 26, 10)

    def forward(self, x):
        return self.fc1(self.conv1(x).view(-1, 16 * 26 * 26))


def step(batch):
    torch.manual_seed(0)
    model = SimpleNet()
    criterion, optimizer = nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.01)
    x, target = torch.randn(batch, 3, 28, 28), torch.randint(0, 10, (batch,))

    def run():
        optimizer.zero_grad()
        criterion(model(x), target).backward()
        optimizer.step()

    return run


def named_parameters():
    model = nn.ModuleList(nn.ModuleList(nn.Linear(1, 1) for _ in range(5)) for _ in range(1000))
    return lambda: list(model.named_parameters())


def call(make, run):
    """Calls a function of tensors."""

    def made():
        tensors = make()
        return lambda: run(*tensors)

    return made


def backward(make, run):
    """Calls the backward pass of a function, for a gradient of ones."""

    def made():
        tensors = make()
        inputs = [x.requires_grad_() for x in tensors if x.is_floating_point()]
        y = run(*tensors)
        ones = torch.ones_like(y)
        return lambda: torch.autograd.grad(y, inputs, ones, retain_graph=True)

    return made


def randn(*shape):
    return lambda: [torch.randn(shape)]


TENSORS, EACH = 300, 333_334


def parameters():
    made = [nn.Parameter(torch.randn(EACH)) for _ in range(TENSORS)]
    for parameter in made:
        parameter.grad = torch.randn(EACH)
    return made


def clip():
    made = parameters()
    return lambda: nn.utils.clip_grad_norm_(made, 1.0)


LINES = {
    "AdamW of 100 M": lambda: optim.AdamW(parameters(), lr=1e-4, fused=True).step,
    "clip_grad_norm_ of 100 M": clip,
    "training step, ResNet-18": torch_models.resnet,
    "training step, GPT": torch_models.gpt,
    "training step, LSTM": torch_models.lstm,
    "training step, batch 1": lambda: step(1),
    "training step, batch 64": lambda: step(64),
    "named_parameters of 10,000": named_parameters,
}


def add_lines(make, lines, suffix="", prefix="", wrap=call):
    for name, run in lines.items():
        LINES[prefix + name + suffix] = wrap(make, run)


def elementwise(n):
    return lambda: [torch.randn(n * MI), torch.randn(n * MI), torch.randn(n * MI) > 0]


add_lines(elementwise(16), suffix=" 16 Mi", lines={
    "add": lambda x, y, m: x + y,
    "mul": lambda x, y, m: x * y,
    "relu": lambda x, y, m: x.relu(),
    "where": lambda x, y, m: torch.where(m, x, y),
    "exp": lambda x, y, m: x.exp(),
})
add_lines(elementwise(1), suffix=" 1 Mi", lines={
    "add": lambda x, y, m: x + y,
    "mul": lambda x, y, m: x * y,
    "div": lambda x, y, m: x / y,
    "add a number": lambda x, y, m: x + 2.0,
    "add_": lambda x, y, m: x.add_(y),
    "maximum": lambda x, y, m: x.maximum(y),
    "gt": lambda x, y, m: x > y,
    "where": lambda x, y, m: torch.where(m, x, y),
    "neg": lambda x, y, m: -x,
    "abs": lambda x, y, m: x.abs(),
    "relu": lambda x, y, m: x.relu(),
    "clamp": lambda x, y, m: x.clamp(-0.5, 0.5),
    "masked_fill": lambda x, y, m: x.masked_fill(m, 0.0),
    "sqrt": lambda x, y, m: x.sqrt(),
    "reciprocal": lambda x, y, m: x.reciprocal(),
    "to bf16": lambda x, y, m: x.to(torch.bfloat16),
    "exp": lambda x, y, m: x.exp(),
    "tanh": lambda x, y, m: x.tanh(),
    "sigmoid": lambda x, y, m: x.sigmoid(),
    "gelu": lambda x, y, m: F.gelu(x),
    "gelu tanh": lambda x, y, m: F.gelu(x, approximate="tanh"),
    "silu": lambda x, y, m: F.silu(x),
    "log": lambda x, y, m: x.log(),
    "sin": lambda x, y, m: x.sin(),
    "erf": lambda x, y, m: x.erf(),
    "pow 3": lambda x, y, m: x.pow(3.0),
})
add_lines(randn(4096, 4096), {
    "sum": lambda x: x.sum(),
    "sum of rows": lambda x: x.sum(1),
    "sum of columns": lambda x: x.sum(0),
    "mean of rows": lambda x: x.mean(1),
    "max": lambda x: x.max(),
    "amax of rows": lambda x: x.amax(1),
    "amax of columns": lambda x: x.amax(0),
    "argmax": lambda x: x.argmax(),
    "argmax of rows": lambda x: x.argmax(1),
    "argmax of columns": lambda x: x.argmax(0),
    "norm": lambda x: x.norm(2.0),
})
add_lines(randn(64, 1024, 256), {
    "sum over the middle": lambda x: x.sum(1),
    "amax over the middle": lambda x: x.amax(1),
    "argmax over the middle": lambda x: x.argmax(1),
})
add_lines(randn(1024, 1024), {
    "var of rows": lambda x: x.var(1),
    "logsumexp of rows": lambda x: x.logsumexp(1),
    "cumsum of rows": lambda x: x.cumsum(1),
    "cumsum of columns": lambda x: x.cumsum(0),
    "sort rows": lambda x: x.sort(1),
    "sort columns": lambda x: x.sort(0),
    "topk 10 of rows": lambda x: x.topk(10, 1),
    "topk 100 of rows": lambda x: x.topk(100, 1),
})
add_lines(randn(MI), {"sort 1 Mi": lambda x: x.sort()})

for n in (256, 512, 1024, 2048):
    LINES[f"matmul {n}"] = call(lambda n=n: [torch.randn(n, n), torch.randn(n, n)], torch.matmul)
LINES["bmm 64x128x128"] = call(lambda: [torch.randn(64, 128, 128), torch.randn(64, 128, 128)], torch.bmm)
LINES["bmm 16x256x64, transposed"] = call(
    lambda: [torch.randn(16, 256, 64), torch.randn(16, 256, 64)], lambda x, y: x.bmm(y.transpose(1, 2)))
LINES["linear 64x1024x1024"] = call(
    lambda: [torch.randn(64, 1024), torch.randn(1024, 1024), torch.randn(1024)], F.linear)
for n in (256, 1024, 2048):
    LINES[f"attention 8x{n}x64"] = call(
        lambda n=n: [torch.randn(1, 8, n, 64) for _ in range(3)], F.scaled_dot_product_attention)
LINES["attention 8x1024x64, backward"] = backward(
    lambda: [torch.randn(1, 8, 1024, 64) for _ in range(3)], F.scaled_dot_product_attention)


def normalised():
    return [torch.randn(4096, 1024), torch.randn(1024), torch.randn(1024)]


def images():
    return [torch.randn(8, 64, 56, 56), torch.randn(64), torch.randn(64)]


def classified():
    return [torch.randn(4096, 1024), torch.randint(0, 1024, (4096,))]


for wrap, suffix in ((call, ""), (backward, ", backward")):
    add_lines(randn(4096, 1024), suffix=suffix, wrap=wrap, lines={
        "softmax of rows": lambda x: x.softmax(1),
        "softmax of columns": lambda x: x.softmax(0),
        "log_softmax of rows": lambda x: x.log_softmax(1),
    })
    add_lines(normalised, suffix=suffix, wrap=wrap, lines={
        "layer_norm": lambda x, w, b: F.layer_norm(x, (1024,), w, b),
    })
    add_lines(classified, suffix=suffix, wrap=wrap, lines={"cross_entropy": F.cross_entropy})
    add_lines(images, suffix=suffix, wrap=wrap, lines={
        "batch_norm 8x64x56x56": lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
    })
    for name, inner, outer, size, kernel, stride, padding in (
        ("3-64 224 7x7/2", 3, 64, 224, 7, 2, 3),
        ("64-64 56 3x3", 64, 64, 56, 3, 1, 1),
        ("64-128 56 3x3/2", 64, 128, 56, 3, 2, 1),
        ("64-128 56 1x1/2", 64, 128, 56, 1, 2, 0),
        ("128-128 28 3x3", 128, 128, 28, 3, 1, 1),
        ("128-256 28 3x3/2", 128, 256, 28, 3, 2, 1),
        ("256-256 14 3x3", 256, 256, 14, 3, 1, 1),
        ("256-512 14 3x3/2", 256, 512, 14, 3, 2, 1),
        ("512-512 7 3x3", 512, 512, 7, 3, 1, 1),
    ):
        LINES[f"conv2d {name}{suffix}"] = wrap(
            lambda i=inner, o=outer, s=size, k=kernel: [torch.randn(4, i, s, s), torch.randn(o, i, k, k)],
            lambda x, w, stride=stride, padding=padding: F.conv2d(x, w, stride=stride, padding=padding))
add_lines(images, {"max_pool2d 8x64x56x56": lambda x, w, b: F.max_pool2d(x, 3, 2, 1)})


def table():
    return [torch.randn(50_000, 256), torch.randint(0, 50_000, (4096,))]


def square():
    return [torch.randn(1024, 1024), torch.randn(1024, 1024), torch.randint(0, 1024, (1024, 1024))]


add_lines(table, {
    "index_select rows": lambda x, i: x.index_select(0, i),
    "embedding": lambda x, i: F.embedding(i, x),
})
LINES["embedding, backward"] = backward(table, lambda x, i: F.embedding(i, x))
add_lines(square, {
    "gather along rows": lambda x, y, i: x.gather(1, i),
    "gather along columns": lambda x, y, i: x.gather(0, i),
    "scatter_add along rows": lambda x, y, i: x.scatter_add(1, i, y),
    "scatter_add along columns": lambda x, y, i: x.scatter_add(0, i, y),
    "masked_select": lambda x, y, i: x.masked_select(x > 0),
    "cat rows": lambda x, y, i: torch.cat((x, y), 0),
    "cat columns": lambda x, y, i: torch.cat((x, y), 1),
    "transpose and copy": lambda x, y, i: x.transpose(0, 1).contiguous(),
    "flip": lambda x, y, i: x.flip(1),
    "add a column": lambda x, y, i: x + y[:, :1],
    "add a transposed matrix": lambda x, y, i: x + y.transpose(0, 1),
})
LINES["permute 4 dims and copy"] = call(randn(8, 64, 32, 64), lambda x: x.permute(0, 2, 1, 3).contiguous())


def four():
    return [torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(s) for s in ((4,), (4,), (2, 2), (2, 2))] + [torch.tensor([0, 1])]


def recorded():
    x, y = torch.ones(4, requires_grad=True), torch.ones(4)
    return lambda: x + y


LINES["4 elements: add, recorded"] = recorded
add_lines(four, prefix="4 elements: ", lines={
    "add": lambda x, y, a, b, i: x + y,
    "add_": lambda x, y, a, b, i: x.add_(y),
    "mul by a number": lambda x, y, a, b, i: x * 2.0,
    "exp": lambda x, y, a, b, i: x.exp(),
    "gelu": lambda x, y, a, b, i: F.gelu(x),
    "clamp": lambda x, y, a, b, i: x.clamp(1.0, 2.0),
    "gt": lambda x, y, a, b, i: x > y,
    "sum": lambda x, y, a, b, i: x.sum(),
    "mean of rows": lambda x, y, a, b, i: a.mean(1),
    "max of rows": lambda x, y, a, b, i: a.max(1),
    "var": lambda x, y, a, b, i: x.var(),
    "view": lambda x, y, a, b, i: x.view(2, 2),
    "transpose": lambda x, y, a, b, i: a.transpose(0, 1),
    "narrow": lambda x, y, a, b, i: x.narrow(0, 1, 2),
    "matmul": lambda x, y, a, b, i: a @ b,
    "linear": lambda x, y, a, b, i: F.linear(a, b),
    "softmax": lambda x, y, a, b, i: a.softmax(1),
    "layer_norm": lambda x, y, a, b, i: F.layer_norm(a, (2,)),
    "cross_entropy": lambda x, y, a, b, i: F.cross_entropy(a, i),
    "cat": lambda x, y, a, b, i: torch.cat((x, y)),
    "index_select": lambda x, y, a, b, i: x.index_select(0, i),
    "gather": lambda x, y, a, b, i: x.gather(0, i),
    "sort": lambda x, y, a, b, i: x.sort(),
    "cumsum": lambda x, y, a, b, i: x.cumsum(0),
    "to f64": lambda x, y, a, b, i: x.to(torch.float64),
})


def in_folder(make):
    """Calls a function of a folder that lasts as long as the call."""

    def made():
        folder = tempfile.TemporaryDirectory(prefix="sconce-bench-")
        run = make(Path(folder.name))
        return lambda folder=folder: run()

    return made


def linear_layers():
    return nn.ModuleList(nn.Linear(2048, 2048) for _ in range(-(-int(sys.argv[1]) // 16)))


def summary(x):
    """What a row of `sconce stats` says."""
    finite = x.isfinite()
    return (
        x.min(), x.max(), x.mean(), x.std(), x.norm(), x.abs().max(), (x == 0).sum(), x.isnan().sum(),
        (x == float("inf")).sum(), (x == float("-inf")).sum(), x[finite].histc(64) if not finite.all() else x.histc(64),
    )


def write(folder, file):
    state = linear_layers().state_dict()
    if file.endswith(".pt"):
        torch.save(state, folder / file)
    else:
        safetensors_of().save_file(state, folder / file)


def safetensors_of():
    import safetensors.torch

    return safetensors.torch


def read(path, **how):
    return torch.load(path, weights_only=True, **how) if path.suffix == ".pt" else safetensors_of().load_file(path)


def statistics(file):
    def make(folder):
        write(folder, file)
        return lambda: [summary(x) for x in read(folder / file, **({"mmap": True} if file.endswith(".pt") else {})).values()]

    return in_folder(make)


def zero_biases(file):
    def make(folder):
        write(folder, file)

        def run():
            state = read(folder / file)
            for name, x in state.items():
                if name.endswith(".bias"):
                    x.zero_()
            if file.endswith(".pt"):
                torch.save(state, folder / file)
            else:
                safetensors_of().save_file(state, folder / file)

        return run

    return in_folder(make)


def convert(folder):
    write(folder, "model.pt")
    return lambda: safetensors_of().save_file(read(folder / "model.pt", mmap=True), folder / "model.safetensors")


def list_shards(folder):
    weights = {}
    for shard in range(100):
        names = [f"model.layers.{shard * 10 + i}.weight" for i in range(10)]
        file = f"model-{shard:05}.safetensors"
        safetensors_of().save_file({name: torch.zeros(16, 16) for name in names}, folder / file)
        weights.update(dict.fromkeys(names, file))
    (folder / "index.json").write_text(json.dumps({"weight_map": weights}))

    def run():
        found = []
        for file in dict.fromkeys(json.loads((folder / "index.json").read_text())["weight_map"].values()):
            with safetensors_of().safe_open(folder / file, "pt") as shard:
                found += [(name, shard.get_slice(name).get_shape()) for name in shard.keys()]
        assert len(found) == 1000

    return run


def load(file):
    def make(folder):
        write(folder, file)
        model = linear_layers()
        how = {"mmap": True} if file.endswith(".pt") else {}
        return lambda: model.load_state_dict(read(folder / file, **how))

    return in_folder(make)


LINES["convert .pt to .safetensors"] = in_folder(convert)
LINES["list an index of 100 shards"] = in_folder(list_shards)
for kind in (".pt", ".safetensors"):
    LINES[f"statistics of a {kind} file"] = statistics("model" + kind)
    LINES[f"zero biases in place, {kind}"] = zero_biases("model" + kind)
    LINES[f"load into a model, {kind}"] = load("model" + kind)


def main():
    print(f"{torch.__version__} on {torch.get_num_threads()} threads", flush=True)
    made = {}
    for request in sys.stdin:
        calls, clock, name = request.strip().split(" ", 2)
        if calls == "0":
            run = made.pop(name, None)
            del run
            print(0.0, flush=True)
            continue
        if name not in made:
            made[name] = LINES[name]()
        now = thread_time if clock == "thread" else perf_counter
        run, start = made[name], now()
        for _ in range(int(calls)):
            run()
        taken = (now() - start) / int(calls)
        print(taken, flush=True)


main()
