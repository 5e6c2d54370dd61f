"""A network as a user may write it: concatenation, SiLU and squeeze-excite, in functions as well as modules."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.expand(F.silu(self.reduce(x.mean((2, 3), keepdim=True)))))
        return x * gate


class Block(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.expand, self.spatial = convolution(channels, hidden, 1), convolution(hidden, hidden, 3, groups=hidden)
        self.attention, self.project = SqueezeExcite(hidden), convolution(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.spatial(F.silu(self.expand(x))))
        return x + self.project(self.attention(y))


class Small(nn.Module):
    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.stem, self.relu = convolution(3, width, 3, 2), nn.ReLU()
        self.narrow, self.wide = convolution(width, width, 1), convolution(width, width, 3)
        self.after, self.block = convolution(width, width, 3), Block(2 * width, 4 * width)
        self.head, self.classifier = convolution(2 * width, 4 * width, 1), nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.stem(x))
        x = torch.cat([F.silu(self.narrow(x)), self.relu(self.after(self.relu(self.wide(x))))], 1)
        x = F.silu(self.head(self.block(F.max_pool2d(x, 2))))
        return self.classifier(x.mean((2, 3)))


def small(num_classes: int, width: int = 16) -> nn.Module:
    return Small(num_classes, width)
