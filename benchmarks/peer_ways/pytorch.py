"""PyTorch: variants "eager" and "compile", updates foreach, fused, or as PyTorch chooses; no dlperf here."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.peer_ways.turns import Work, serve


class _Block(nn.Module):
    """Two convolutions of 3 x 3 with batch normalisation, and the identity of option A."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.stride, self.added = (2, filters - inputs) if inputs != filters else (1, 0)
        self.first = nn.Conv2d(inputs, filters, 3, self.stride, 1, bias=False)
        self.second = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(filters), nn.BatchNorm2d(filters)])

    def forward(self, x: Any) -> Any:
        y = functional.relu(self.norms[0](self.first(x)), inplace=True)
        y = self.norms[1](self.second(y))
        if self.added:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))
        return functional.relu(x + y, inplace=True)


def _resnet(work: Work) -> Callable[[], Any]:
    torch.set_num_threads(work.threads)
    torch.manual_seed(0)
    blocks = (work.depth - 2) // 6
    widths = [16] * (blocks + 1) + [32] * blocks + [64] * blocks
    model: Any = nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
        *[_Block(a, b) for a, b in itertools.pairwise(widths)],
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    ).to(memory_format=torch.channels_last)  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=1e-4, **_updates(work))
    if "compile" in work.variant:
        model = torch.compile(model)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (work.examples, 3, 32, 32), np.uint8))
    labels = torch.from_numpy(rng.integers(0, 10, work.examples))
    mean, std = torch.tensor([0.49, 0.48, 0.45])[:, None, None], torch.tensor([0.25, 0.24, 0.26])[:, None, None]

    def augmented(batch: Any) -> Any:
        """Normalise, crop from 4 padded pixels, flip, cut out a square of 16: all images of a batch at once."""
        padded = functional.pad((batch.float() / 255 - mean) / std, (4, 4, 4, 4))
        count = len(batch)
        y = torch.randint(0, 9, (count, 1)) + torch.arange(32)
        x = torch.randint(0, 9, (count, 1)) + torch.arange(32)
        x = torch.where(torch.rand(count, 1) < 0.5, x.flip(1), x)
        rows = torch.arange(count)[:, None, None, None]
        cropped = padded[rows, torch.arange(3)[:, None, None], y[:, None, :, None], x[:, None, None, :]]
        centre = torch.randint(0, 32, (2, count, 1))
        inside = [(torch.arange(32) >= c - 8) & (torch.arange(32) < c + 8) for c in centre]
        cropped.masked_fill_((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0.0)
        return cropped.contiguous(memory_format=torch.channels_last)

    def epoch() -> None:
        for rows in torch.randperm(work.examples).split(64):
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(model(augmented(images[rows])), labels[rows]).backward()
            optimizer.step()

    return epoch


def _mlp(work: Work) -> Callable[[], Any]:
    torch.set_num_threads(work.threads)
    torch.manual_seed(0)
    layers: list[Any] = [nn.Dropout(0.2)] if work.dropout else []
    layers += [nn.Linear(3072, 1000), nn.ReLU(), nn.Linear(1000, 1000), nn.ReLU()]
    layers += [nn.Dropout(0.5)] if work.dropout else []
    model: Any = nn.Sequential(*layers, nn.Linear(1000, 10))
    decayed = [
        p for layer in model if isinstance(layer, nn.Linear) and layer.out_features > 10 for p in layer.parameters()
    ]
    rule = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}[work.optimizer]
    optimizer = rule(model.parameters(), 0.001, **_updates(work))
    if "compile" in work.variant:
        model = torch.compile(model)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (work.examples, 3072), np.uint8))
    labels = torch.from_numpy(rng.integers(0, 10, work.examples))

    def epoch() -> None:
        for rows in torch.randperm(work.examples).split(128):
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(model(images[rows].float().div_(255)), labels[rows]).backward()
            # The penalty 0.01 w^2, by its gradient, as who cares for speed writes it.
            torch._foreach_add_([p.grad for p in decayed], [p.detach() for p in decayed], alpha=0.02)
            optimizer.step()

    return epoch


def _eggholder(work: Work) -> Callable[[], Any]:
    torch.set_num_threads(work.threads)
    torch.manual_seed(0)
    layers: list[Any] = []
    for i, (a, b) in enumerate(zip((2, *work.units), work.units, strict=False)):
        layers += [nn.BatchNorm1d(a, eps=1e-3, momentum=0.01)] if i else []
        layers += [nn.Linear(a, b), nn.ReLU()]
    model: Any = nn.Sequential(*layers, nn.Linear(work.units[-1], 1))
    optimizer = torch.optim.NAdam(
        model.parameters(), 0.001, **{k: v for k, v in _updates(work).items() if k != "fused"}
    )
    if "compile" in work.variant:
        model = torch.compile(model)
    points = np.random.default_rng(0).integers(-512, 513, (work.examples, 2)).astype("float32")
    inputs, targets = torch.from_numpy(points), torch.from_numpy(_eggholder_function(points))

    def epoch() -> None:
        for rows in torch.randperm(work.examples).split(1000):
            optimizer.zero_grad(set_to_none=True)
            functional.mse_loss(model(inputs[rows])[:, 0], targets[rows]).backward()
            optimizer.step()

    return epoch


def _eggholder_function(points: np.ndarray) -> np.ndarray:
    x, y = points[:, 0], points[:, 1] + 47
    return (-y * np.sin(np.sqrt(np.abs(x / 2 + y))) - x * np.sin(np.sqrt(np.abs(x - y)))).astype("float32")


def _updates(work: Work) -> dict[str, bool]:
    return {name: True for name in ("foreach", "fused") if name in work.variant}


def _version() -> str:
    return f"torch {torch.__version__}"


if __name__ == "__main__":
    serve({"resnet44": _resnet, "mlp": _mlp, "eggholder": _eggholder}, _version)
