"""The networks of `src/lines/models.rs` in PyTorch."""
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim


def convolution(inner, outer, kernel, stride):
    return nn.Sequential(
        nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outer))


class Residual(nn.Module):
    def __init__(self, inner, outer, stride):
        super().__init__()
        self.first, self.second = convolution(inner, outer, 3, stride), convolution(outer, outer, 3, 1)
        changes = stride != 1 or inner != outer
        self.shortcut = convolution(inner, outer, 1, stride) if changes else nn.Identity()

    def forward(self, x):
        y = self.second(F.relu(self.first(x), inplace=True))
        return F.relu(y + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = convolution(3, 64, 3, 1)
        sizes = ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
        self.blocks = nn.Sequential(*(
            Residual(*block) for inner, outer, stride in sizes for block in ((inner, outer, stride), (outer, outer, 1))))
        self.head = nn.Linear(512, 10)

    def forward(self, x):
        return self.head(self.blocks(F.relu(self.stem(x), inplace=True)).mean((2, 3)))


WIDTH = 384


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = (
            part.view(batch, length, 6, WIDTH // 6).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).split(WIDTH, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.narrow(F.gelu(self.wide(self.norm2(x))))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(65, WIDTH), nn.Embedding(256, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(6)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 65, bias=False)

    def forward(self, x):
        x = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(x))).view(-1, 65)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(128, 256, num_layers=2, batch_first=True), nn.Linear(256, 10)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def step(model, optimizer, x, target):
    def run():
        optimizer.zero_grad()
        F.cross_entropy(model(x), target).backward()
        optimizer.step()

    return run


def resnet():
    model = ResNet()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    return step(model, optimizer, torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,)))


def gpt():
    model = Gpt()
    optimizer = optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    return step(model, optimizer, torch.randint(0, 65, (8, 256)), torch.randint(0, 65, (8 * 256,)))


def lstm():
    model = Recurrent()
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    return step(model, optimizer, torch.randn(32, 64, 128), torch.randint(0, 10, (32,)))
