#!/usr/bin/env python3
"""One training step's numbers in PyTorch's 64-bit floats, for admix's tests to agree with.

    pip install torch safetensors numpy
    benches/pytorch_agreement.py tests/pytorch/small.safetensors
    cargo test --release agrees_with_pytorch

The file holds the weights before the step, images, targets, the four values of the loss, all
gradients and the running statistics after it.

ReLU6 has a kink at 0 and at 6. A value that rounding carries across one changes gradients in
steps, so an example is of use only where none is: the first seed is taken whose values keep
away from the kinks by `--margin` times the largest rounding error of their layer. For each
seed the script prints how many values PyTorch's own 32-bit floats carry across a kink, and how
far its gradients are then from those of 64 bits.
"""

import argparse
import copy
import pathlib

import torch
from safetensors.torch import save_file

from pytorch_twin import Detector, loss

SEEDS = 500


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=0.1)
    parser.add_argument("--head-channels", type=int, default=16)
    parser.add_argument("--input", default="64x96", metavar="HxW")
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--margin", type=float, default=1)
    parser.add_argument("output", type=pathlib.Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(SEEDS):
        model, pixels, targets = example(options, seed)
        exact, rounded = (step(model, pixels, targets, kind) for kind in (torch.float64, torch.float32))
        margin, crossed = kinks(exact["activations"], rounded["activations"])
        error = errors(rounded["gradients"], exact["gradients"])
        print(f"seed {seed}: {margin:.2f} rounding errors from the nearest kink, {crossed} values across; "
              f"32-bit gradients off by {error.median():.0e} (median), {error.max():.0e} (largest)")
        if margin > options.margin:
            break
    else:
        raise SystemExit(f"none of {SEEDS} seeds keeps that far from the kinks; take a smaller input or --margin")
    before = [stored(name, value) for name, value in state(model)]
    objectness, positives, boxes, classes = targets
    gradients, twin = exact["gradients"], exact["twin"]

    tensors = {
        "pixels": pixels.permute(0, 2, 3, 1),
        "objectness": objectness,
        "positives": positives.to(torch.int32),
        "boxes": boxes,
        "classes": classes,
        "loss": exact["loss"],
    }
    for index, value in enumerate(before):
        tensors[f"before.{index:03}"] = value
    names = {name: gradient for (name, _), gradient in zip(twin.named_parameters(), gradients)}
    for index, (name, value) in enumerate(state(twin)):
        if name in names:
            tensors[f"gradient.{index:03}"] = stored(name, names[name])
        else:
            tensors[f"running.{index:03}"] = stored(name, value)
    metadata = {
        "width_multiplier": str(options.width),
        "head_channels": str(options.head_channels),
        "input": options.input,
        "images": str(options.images),
        "classes": str(options.classes),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, options.output, metadata)


def example(options, seed):
    """Network, images and targets."""
    torch.manual_seed(seed)
    height, width = map(int, options.input.split("x"))
    model = Detector(options.width, options.head_channels, 16, options.classes).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.3, 0.5)
    cells = options.images * (height // 16) * (width // 16)
    positives = torch.arange(1, cells, 3)
    count = len(positives)
    pixels = torch.rand(options.images, 3, height, width) * 4 - 2
    objectness = torch.zeros(cells)
    objectness[positives] = 1
    boxes = torch.cat([torch.rand(count, 2) - 0.5, torch.rand(count, 2) * 1.5 + 0.5], 1)
    classes = torch.nn.functional.one_hot(torch.arange(count) % options.classes, options.classes).float()
    return model, pixels, (objectness, positives, boxes, classes)


def step(model, pixels, targets, kind):
    """Loss, gradients, the network after the forward pass, and for each activation its kinks
    and what it sees, in the order of the network."""
    activations = []
    twin = copy.deepcopy(model).to(kind)
    for module in twin.modules():
        if isinstance(module, (torch.nn.ReLU, torch.nn.ReLU6)):
            places = (0, 6) if isinstance(module, torch.nn.ReLU6) else (0,)
            module.register_forward_pre_hook(
                lambda _, x, places=places: activations.append((places, x[0].detach().double().clone())))
    objectness, positives, boxes, classes = targets
    terms = loss(twin(pixels.to(kind)), objectness.to(kind), positives, boxes.to(kind), classes.to(kind))
    terms[0].backward()
    gradients = [parameter.grad for parameter in twin.parameters()]
    return {"loss": terms.detach(), "gradients": gradients, "twin": twin, "activations": activations}


def kinks(exact, rounded):
    """Distance of the nearest value to a kink in rounding errors of its layer, and how many
    values rounding carries across one."""
    margin, crossed = float("inf"), 0
    for (places, a), (_, b) in zip(exact, rounded):
        for place in places:
            margin = min(margin, ((a - place).abs().min() / (a - b).abs().max()).item())
            crossed += ((a > place) != (b > place)).sum().item()
    return margin, crossed


def errors(got, wanted):
    """Relative error of each gradient; one that is all but zero is noise in any precision."""
    whole = sum(gradient.norm() ** 2 for gradient in wanted) ** 0.5
    return torch.stack([(a - b).norm() / max(b.norm(), 1e-4 * whole) for a, b in zip(got, wanted)])


def state(model):
    """Names and values in the order of the network, without the counters of batches."""
    return [(name, value) for name, value in model.state_dict().items() if "num_batches" not in name]


def stored(name, value):
    """A tensor as 32-bit floats in admix's layout: the prediction's weights are a matrix
    `[inputs, outputs]` there."""
    value = value.detach().clone().float()
    return value[:, :, 0, 0].T if name == "prediction.weight" else value


if __name__ == "__main__":
    main()
