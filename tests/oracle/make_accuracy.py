"""Writes how far PyTorch's sums, norms and products are from exact ones.

    python tests/oracle/make_accuracy.py > crates/sconce/tests/data/accuracy.txt

A line for each operation and dtype of `CASES`: the root of the mean squared error of PyTorch's result against float64, over
the largest magnitude of the exact result. The numbers come from `numbers`, which `crates/sconce/tests/accuracy.rs` writes alike.
"""

import torch


def numbers(shape, seed):
    """The fractions of multiples of the golden ratio, from 0 to 1."""
    n = torch.arange(1, int(torch.tensor(shape).prod()) + 1, dtype=torch.float64)
    x = (n + seed) * 0.6180339887498949
    return (x - x.floor()).reshape(shape)


def both_signs(x):
    return x * 2 - 1


# Name, shapes, the numbers' range, and the function.
CASES = [
    ("sum", [(1 << 20,)], lambda x: x, lambda x: x.sum()),
    ("sum_rows", [(64, 4097)], lambda x: x, lambda x: x.sum(1)),
    ("sum_columns", [(4097, 64)], lambda x: x, lambda x: x.sum(0)),
    ("mean", [(1 << 20,)], both_signs, lambda x: x.mean()),
    ("mean_columns", [(4097, 64)], lambda x: x, lambda x: x.mean(0)),
    ("var", [(64, 4097)], both_signs, lambda x: x.var(1)),
    ("var_columns", [(4097, 64)], lambda x: x, lambda x: x.var(0)),
    ("var_far_from_zero", [(64, 4097)], lambda x: x + 64, lambda x: x.var(1)),
    ("std", [(1 << 20,)], both_signs, lambda x: x.std()),
    ("norm", [(1 << 20,)], both_signs, lambda x: x.norm()),
    ("norm_rows", [(64, 4097)], both_signs, lambda x: x.norm(dim=1)),
    ("prod", [(64, 257)], lambda x: x / 64 + 1, lambda x: x.prod(1)),
    ("cumsum", [(8, 4097)], lambda x: x, lambda x: x.cumsum(1)),
    ("logsumexp", [(64, 4097)], both_signs, lambda x: x.logsumexp(1)),
    ("softmax", [(64, 4097)], lambda x: x * 8, lambda x: x.softmax(1)),
    ("log_softmax", [(64, 4097)], lambda x: x * 8, lambda x: x.log_softmax(1)),
    ("layer_norm", [(64, 4097)], lambda x: x + 3, lambda x: torch.nn.functional.layer_norm(x, x.shape[1:])),
    ("matmul", [(33, 4097), (4097, 17)], both_signs, lambda x, y: x @ y),
    ("matmul_positive", [(33, 4097), (4097, 17)], lambda x: x, lambda x, y: x @ y),
    ("matrix_vector", [(64, 4097), (4097,)], lambda x: x, lambda x, y: x @ y),
    ("batched", [(3, 9, 1025), (3, 1025, 7)], lambda x: x, lambda x, y: x @ y),
]


for title, shapes, scale, f in CASES:
    for dtype in ("float32", "float16", "bfloat16"):
        inputs = [scale(numbers(s, 1000 * i)).to(getattr(torch, dtype)) for i, s in enumerate(shapes)]
        exact = f(*(x.double() for x in inputs))
        found = f(*inputs).double()
        if torch.isfinite(found).all():
            error = ((found - exact).square().mean().sqrt() / exact.abs().max()).item()
            print(f"{title} {dtype} {error:.3e}")
