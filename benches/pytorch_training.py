#!/usr/bin/env python3
"""Rate of admix against PyTorch: the same network, batch and threads, in turn.

    pip install torch
    cargo build --release
    benches/pytorch_training.py --rounds 3 --width 0.35 --input 192x320
    benches/pytorch_training.py --rounds 3 --inference

`compiled` is PyTorch at its best: torch.compile (which needs a C++ compiler), channels-last,
and an allocator that neither trims nor maps. Training is forward, backward and optimiser;
inference is the forward pass alone.

Each round runs `admix bench train` and then PyTorch in each of its forms, every one in a
process of its own, so that a slow minute of the machine meets all of them. Rates are the
median of the rounds in images/s; the ratio is admix to that form.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

# Channels-last, bfloat16, compiled with a tuned allocator.
FORMS = {
    "float32": (False, False, False),
    "channels-last": (True, False, False),
    "channels-last bfloat16": (True, True, False),
    "compiled": (True, False, True),
    "compiled bfloat16": (True, True, True),
}
TUNED = {"MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TOP_PAD_": str(64 << 20)}
WARM_UP = 3


def run_pytorch(options, form):
    """Prints the rate and the peak memory of one form as JSON."""
    import torch

    from pytorch_twin import Detector

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    channels_last, bfloat16, compiled = FORMS[form]
    height, width = map(int, options.input.split("x"))
    model = Detector(options.width).train(not options.inference)
    images = torch.rand(options.batch, 3, height, width)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    run = torch.compile(model) if compiled else model
    wanted = torch.rand(options.batch, 5, height // 32, width // 32)
    has_object = (torch.rand(options.batch, 1, height // 32, width // 32) < 1 / 17).float()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.02)

    def forward():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            return run(images).float()

    def step():
        output = forward()
        objectness = torch.nn.functional.binary_cross_entropy_with_logits(output[:, :1], has_object)
        boxes = ((output[:, 1:] - wanted[:, 1:]).abs() * has_object).mean()
        optimizer.zero_grad()
        (objectness + boxes).backward()
        optimizer.step()

    once = torch.no_grad()(forward) if options.inference else step
    for _ in range(WARM_UP):
        once()
    began = time.perf_counter()
    for _ in range(options.iters):
        once()
    rate = options.batch * options.iters / (time.perf_counter() - began)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": rate, "memory": memory}))


def run_admix(options):
    command = [options.admix, "bench", "train", "--json", "--output-strides", "32",
               "--width-multiplier", str(options.width), "--input", options.input,
               "--batch", str(options.batch), "--iters", str(options.iters),
               "--jobs", str(options.threads)] + ["--inference"] * options.inference
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
    parser.add_argument("--inference", action="store_true", help="the forward pass alone")
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
            environment = {**os.environ, **(TUNED if FORMS[form][2] else {})}
            output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
            results[form].append(json.loads(output))
    own = statistics.median(result["rate"] for result in results["admix"])
    print(f"width {options.width}, {options.input}, batch {options.batch}, {options.threads} threads")
    for name, rounds in results.items():
        rate = statistics.median(result["rate"] for result in rounds)
        memory = max(result["memory"] for result in rounds)
        print(f"{name:<24} {rate:7.1f} images/s  {memory:6.0f} MiB  admix is {own / rate:.2f} x")


if __name__ == "__main__":
    main()
