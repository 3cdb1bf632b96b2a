"""Begins training runs in PyTorch, and ends them after crates/sconce/tests/resumed_runs.rs went on with them.

Usage: continue.py begin FOLDER; SCONCE_CONTINUE=FOLDER cargo test -p sconce --test resumed_runs; continue.py end FOLDER
"""

import gzip
import pathlib
import sys

import torch
from torch import nn
from torch.optim import lr_scheduler as schedules

STEPS = 4
DATA = pathlib.Path(__file__).parents[2] / "data/digits.csv.gz"


def digits():
    with gzip.open(DATA, "rt") as lines:
        rows = torch.tensor([[int(n) for n in next(lines).split(",")] for _ in range(128)])
    return rows[:, :64] / 16.0, rows[:, 64]


def step(optimizer):
    return schedules.StepLR(optimizer, 2, 0.5)


def cosine(optimizer):
    return schedules.CosineAnnealingLR(optimizer, 10)


def sequential(optimizer):
    parts = [schedules.LinearLR(optimizer, 0.5, total_iters=2), schedules.ExponentialLR(optimizer, 0.9)]
    return schedules.SequentialLR(optimizer, parts, [6])


def chained(optimizer):
    parts = [schedules.ConstantLR(optimizer, 0.5, 5), schedules.ExponentialLR(optimizer, 0.9)]
    return schedules.ChainedScheduler(parts)


def one_cycle(optimizer):
    return schedules.OneCycleLR(optimizer, 0.1, total_steps=14)


def plateau(optimizer):
    return schedules.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, threshold=0.2, threshold_mode="abs")


# Options that are not the default must come through the checkpoint.
RUNS = {
    "Adadelta": (torch.optim.Adadelta, dict(lr=0.7, rho=0.8), step),
    "Adafactor": (torch.optim.Adafactor, dict(lr=0.02, weight_decay=0.1), None),
    "Adagrad": (torch.optim.Adagrad, dict(lr=0.05, lr_decay=0.1), step),
    "Adam": (torch.optim.Adam, dict(lr=0.01, amsgrad=True, weight_decay=0.01), cosine),
    "AdamW": (torch.optim.AdamW, dict(lr=0.02, betas=(0.8, 0.99)), sequential),
    "Adamax": (torch.optim.Adamax, dict(lr=0.01), step),
    "ASGD": (torch.optim.ASGD, dict(lr=0.05, t0=3), None),
    "Muon": (torch.optim.Muon, dict(lr=0.02, momentum=0.9), None),
    "NAdam": (torch.optim.NAdam, dict(lr=0.01), chained),
    "RAdam": (torch.optim.RAdam, dict(lr=0.02), None),
    "RMSprop": (torch.optim.RMSprop, dict(lr=0.002, momentum=0.5, centered=True), plateau),
    "Rprop": (torch.optim.Rprop, dict(lr=0.005), None),
    "SGD": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3), one_cycle),
    "SparseAdam": (torch.optim.SparseAdam, dict(lr=0.01), None),
    "LBFGS": (torch.optim.LBFGS, dict(lr=0.2, max_iter=2, history_size=6), None),
    "LBFGS_strong_wolfe": (
        torch.optim.LBFGS,
        dict(lr=0.2, max_iter=2, history_size=6, line_search_fn="strong_wolfe"),
        None,
    ),
}


class Run:
    def __init__(self, name):
        self.kind, options, schedule = RUNS[name]
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
        self.x, self.y = digits()
        parameters = list(self.model.parameters())
        if self.kind is torch.optim.Muon:
            parameters = [p for p in parameters if p.dim() == 2]
        self.optimizer = self.kind(parameters, **options)
        self.schedule = schedule and schedule(self.optimizer)
        self.losses = []

    def loss(self):
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        if self.kind is torch.optim.SparseAdam:
            for p in self.model.parameters():
                p.grad = p.grad.to_sparse()
        return loss

    def train(self):
        for _ in range(STEPS):
            loss = self.optimizer.step(self.loss)
            self.losses.append(loss.item())
            if isinstance(self.schedule, schedules.ReduceLROnPlateau):
                self.schedule.step(loss.item())
            elif self.schedule:
                self.schedule.step()

    def save(self, path):
        saved = dict(model=self.model.state_dict(), optimizer=self.optimizer.state_dict())
        saved.update(x=self.x, y=self.y, losses=self.losses)
        if self.schedule:
            saved["scheduler"] = self.schedule.state_dict()
        torch.save(saved, path)

    def load(self, path):
        saved = torch.load(path, weights_only=True)
        self.model.load_state_dict(saved["model"], strict=True)
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.schedule:
            self.schedule.load_state_dict(saved["scheduler"])
        self.losses = saved["losses"]


def main(what, folder):
    worst = 0.0
    for name in RUNS:
        run = Run(name)
        if what == "begin":
            run.train()
            run.save(folder / f"{name}.begun.pt")
            continue
        run.load(folder / f"{name}.continued.pt")
        assert len(run.losses) == 2 * STEPS, name
        run.train()
        whole = Run(name)
        for _ in range(3):
            whole.train()
        far = max(abs(a - b) / abs(b) for a, b in zip(run.losses, whole.losses))
        rates = [[group["lr"] for group in run.optimizer.param_groups] for run in (run, whole)]
        assert all(abs(a - b) < 1e-9 for a, b in zip(*rates)), (name, rates)
        print(f"{name:20} loss {whole.losses[0]:.4f} to {whole.losses[-1]:.4f}, differs by {far:.1e}")
        assert far < 1e-3, (name, run.losses, whole.losses)
        worst = max(worst, far)
    if what == "end":
        print(f"{len(RUNS)} runs as if PyTorch had gone on alone; the worst differs by {worst:.1e}")


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    main(sys.argv[1], folder)
