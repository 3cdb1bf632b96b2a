"""PyTorch's side of the benchmark: reads lines "CALLS CLOCK NAME", answers each with the seconds per call."""
import sys
from time import perf_counter, thread_time

import torch
import torch.nn as nn
import torch.optim as optim


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


def four(requires_grad, run):
    x, y = torch.ones(4, requires_grad=requires_grad), torch.ones(4)
    return lambda: run(x, y)


LINES = {
    "add": lambda: four(False, lambda x, y: x + y),
    "add recorded": lambda: four(True, lambda x, y: x + y),
    "add_": lambda: four(False, lambda x, y: x.add_(y)),
    "view": lambda: four(False, lambda x, y: x.view(2, 2)),
    "step 1": lambda: step(1),
    "step 64": lambda: step(64),
    "named_parameters": named_parameters,
}

print(f"{torch.__version__} on {torch.get_num_threads()} threads", flush=True)
made = {}
for request in sys.stdin:
    calls, clock, name = request.strip().split(" ", 2)
    if name not in made:
        made[name] = LINES[name]()
    now = thread_time if clock == "thread" else perf_counter
    run, start = made[name], now()
    for _ in range(int(calls)):
        run()
    print((now() - start) / int(calls), flush=True)
