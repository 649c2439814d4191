#!/usr/bin/env python3
"""Training rate of admix against PyTorch: the same network, batch and threads, in turn.

    pip install torch
    cargo build --release
    benches/pytorch_training.py --rounds 3 --width 0.35 --input 192x320

Each round runs `admix bench train` and then PyTorch in each of its forms, every one in a
process of its own, so that a slow minute of the machine meets all of them. Rates are the
median of the rounds in images/s; the ratio is admix to that form.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

# Expansion, channels, blocks and stride of each stage (Sandler et al. 2018, table 2).
STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
          (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
FORMS = {"float32": (False, False), "channels-last": (True, False), "channels-last bfloat16": (True, True)}
WARM_UP = 3


def network(torch, width):
    """The detector with output stride 32 and one class, from PyTorch's own layers."""
    nn = torch.nn

    def scaled(channels):
        wanted = channels * width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * wanted else rounded

    def layer(inputs, outputs, kernel, stride=1, groups=1, act=nn.ReLU6):
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), act(inplace=True) if act else nn.Identity())

    class Residual(nn.Module):
        def __init__(self, inputs, outputs, stride, expansion):
            super().__init__()
            hidden = inputs * expansion
            layers = [layer(inputs, hidden, 1)] if expansion != 1 else []
            layers += [layer(hidden, hidden, 3, stride, hidden), layer(hidden, outputs, 1, act=None)]
            self.layers = nn.Sequential(*layers)
            self.adds = stride == 1 and inputs == outputs

        def forward(self, x):
            y = self.layers(x)
            return x + y if self.adds else y

    channels = scaled(32)
    layers = [layer(3, channels, 3, 2)]
    for expansion, out, blocks, stride in STAGES:
        for block in range(blocks):
            layers.append(Residual(channels, scaled(out), stride if block == 0 else 1, expansion))
            channels = scaled(out)
    layers.append(layer(channels, 64, 1, act=nn.ReLU))
    for _ in range(2):
        layers += [layer(64, 64, 3, groups=64), layer(64, 64, 1)]
    layers.append(nn.Conv2d(64, 5, 1))
    return nn.Sequential(*layers)


def run_pytorch(options, form):
    """Prints the rate and the peak memory of one form as JSON."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    channels_last, bfloat16 = FORMS[form]
    height, width = map(int, options.input.split("x"))
    model = network(torch, options.width).train()
    images = torch.rand(options.batch, 3, height, width)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    wanted = torch.rand(options.batch, 5, height // 32, width // 32)
    has_object = (torch.rand(options.batch, 1, height // 32, width // 32) < 1 / 17).float()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.02)
    began = None
    for step in range(WARM_UP + options.iters):
        if step == WARM_UP:
            began = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            output = model(images)
        output = output.float()
        objectness = torch.nn.functional.binary_cross_entropy_with_logits(output[:, :1], has_object)
        boxes = ((output[:, 1:] - wanted[:, 1:]).abs() * has_object).mean()
        optimizer.zero_grad()
        (objectness + boxes).backward()
        optimizer.step()
    rate = options.batch * options.iters / (time.perf_counter() - began)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": rate, "memory": memory}))


def run_admix(options):
    command = [options.admix, "bench", "train", "--json", "--output-stride", "32",
               "--width-multiplier", str(options.width), "--input", options.input,
               "--batch", str(options.batch), "--iters", str(options.iters),
               "--jobs", str(options.threads)]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"rate": result["items_per_s"], "memory": result["peak_rss_mib"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--admix", default="target/release/admix")
    parser.add_argument("--width", type=float, default=0.35)
    parser.add_argument("--input", default="192x320", metavar="HxW")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--iters", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.form:
        run_pytorch(options, options.form)
        return
    results = {name: [] for name in ["admix", *FORMS]}
    for _ in range(options.rounds):
        results["admix"].append(run_admix(options))
        for form in FORMS:
            command = [sys.executable, *sys.argv, "--form", form]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results[form].append(json.loads(output))
    own = statistics.median(result["rate"] for result in results["admix"])
    print(f"width {options.width}, {options.input}, batch {options.batch}, {options.threads} threads")
    for name, rounds in results.items():
        rate = statistics.median(result["rate"] for result in rounds)
        memory = max(result["memory"] for result in rounds)
        print(f"{name:<24} {rate:7.1f} images/s  {memory:6.0f} MiB  admix is {own / rate:.2f} x")


if __name__ == "__main__":
    main()
