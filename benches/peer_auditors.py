#!/usr/bin/env python3
"""Faults planted in photographs, and who finds them: admix and CleanVision, in one run.

    pip install cleanvision numpy pillow
    cargo build --release
    python3 benches/peer_auditors.py --photos DIR [--planted 20] [--rounds 3]

DIR holds photographs of one set. Each fault is planted in some of them, drawn by a fixed seed,
the rest stay as they are: the table gives how many of the planted images each finds with an issue
of that kind, and in how many of the others it reports it too. Copies are added beside their
originals; one is found where both are named together. The last lines are images a second on the
photographs as they are, by turns, with one worker and with two.
"""
import argparse
import glob
import io
import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time

import numpy as np
from PIL import Image, ImageFilter

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def linear(image):
    v = np.asarray(image, np.float64) / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def srgb(v):
    v = np.clip(v, 0, 1)
    v = np.where(v <= 0.0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - 0.055)
    return Image.fromarray(np.round(255 * v).astype(np.uint8))


def noisy(image, rng):
    v = np.asarray(image, np.float64) + rng.normal(0, 15, np.asarray(image).shape)
    return Image.fromarray(np.clip(np.round(v), 0, 255).astype(np.uint8))


def jpeg(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def cropped(image, share):
    w, h = image.size
    cw, ch = int(w * share), int(h * share)
    return image.crop((w // 10, h // 12, w // 10 + cw, h // 12 + ch))


# Name; what it does; issues of admix and of CleanVision that name it; whether it is a copy.
FAULTS = [
    ("-3 EV", lambda i, r: srgb(linear(i) / 8), {"dark"}, {"dark", "low_information"}, False),
    ("+2 EV", lambda i, r: srgb(linear(i) * 4), {"bright"}, {"light", "low_information"}, False),
    ("+3.5 EV", lambda i, r: srgb(linear(i) * 2 ** 3.5), {"bright"}, {"light", "low_information"}, False),
    ("blur, sigma 6 px", lambda i, r: i.filter(ImageFilter.GaussianBlur(6)), {"blurred"}, {"blurry"}, False),
    ("blur, sigma 2 px", lambda i, r: i.filter(ImageFilter.GaussianBlur(2)), {"blurred"}, {"blurry"}, False),
    ("noise, 15 levels", noisy, {"noisy"}, {"blurry", "low_information"}, False),
    ("JPEG quality 10", None, {"blocky"}, {"blurry", "low_information"}, False),
    ("JPEG quality 10, saved anew as PNG", lambda i, r: jpeg(i, 10), {"blocky"}, {"blurry", "low_information"}, False),
    ("contrast x 0.25", lambda i, r: Image.blend(Image.new("RGB", i.size, (128,) * 3), i, 0.25),
     {"low_contrast"}, {"low_information"}, False),
    ("grey", lambda i, r: i.convert("L").convert("RGB"), {"grey"}, {"grayscale"}, False),
    ("same file", lambda i, r: i, {"same_file"}, {"exact_duplicates"}, True),
    ("half the size, quality 40", lambda i, r: jpeg(i.resize((i.width // 2, i.height // 2)), 40),
     {"near_duplicate"}, {"near_duplicates"}, True),
    ("mirrored", lambda i, r: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT), {"mirrored"}, {"near_duplicates"}, True),
    ("turned by a quarter", lambda i, r: i.transpose(Image.Transpose.ROTATE_90), {"mirrored"}, {"near_duplicates"}, True),
    ("cropped to 0.8 of the sides", lambda i, r: cropped(i, 0.8), {"cropped", "near_duplicate"}, {"near_duplicates"}, True),
    ("cropped to 0.6 of the sides", lambda i, r: cropped(i, 0.6), {"cropped", "near_duplicate"}, {"near_duplicates"}, True),
]


def plant(photos, fault, count, folder):
    """Writes the set; returns the names of the planted images and of their originals."""
    rng = np.random.default_rng(1)
    chosen = random.Random(1).sample(range(len(photos)), count)
    os.makedirs(f"{folder}/images")
    planted, originals = [], []
    for index, path in enumerate(photos):
        name = os.path.basename(path)
        if index not in chosen or fault[4]:
            shutil.copy(path, f"{folder}/images/{name}")
        if index in chosen:
            image = Image.open(path).convert("RGB")
            made = f"planted_{os.path.splitext(name)[0]}.png"
            if fault[0] == "same file":
                made = f"planted_{name}"
                shutil.copy(path, f"{folder}/images/{made}")
            elif fault[0] == "JPEG quality 10":
                made = f"planted_{os.path.splitext(name)[0]}.jpg"
                image.save(f"{folder}/images/{made}", quality=10)
            else:
                fault[1](image, rng).save(f"{folder}/images/{made}")
            planted.append(made)
            originals.append(name)
    write_coco(folder)
    return planted, originals


def write_coco(folder):
    images = []
    for number, name in enumerate(sorted(os.listdir(f"{folder}/images")), 1):
        width, height = Image.open(f"{folder}/images/{name}").size
        images.append({"id": number, "file_name": name, "width": width, "height": height})
    data = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "object"}]}
    json.dump(data, open(f"{folder}/annotations.json", "w"))


def by_admix(folder, jobs=2):
    run = subprocess.run([f"{ROOT}/target/release/admix", "audit", folder, "--json", "--jobs", str(jobs)],
                         capture_output=True, text=True, check=True)
    return json.loads(run.stdout)["findings"]


def by_cleanvision(folder, jobs=2):
    from cleanvision import Imagelab

    lab = Imagelab(data_path=f"{folder}/images")
    lab.find_issues(n_jobs=jobs, verbose=False)
    return lab


def score(fault, folder, planted, originals):
    pairs = {frozenset(pair) for pair in zip(planted, originals)}
    findings = [f for f in by_admix(folder) if f["issue"] in fault[2] | ({"copy_in_splits"} if fault[4] else set())]
    if fault[4]:
        found = [frozenset((f["image"], f["other"])) for f in findings]
    else:
        found = [f["image"] for f in findings]
    wanted = pairs if fault[4] else set(planted)
    ours = (len(wanted & set(found)), len(set(found) - wanted))
    lab = by_cleanvision(folder)
    if fault[4]:
        theirs = set()
        for kind in fault[3]:
            for group in lab.info.get(kind, {}).get("sets", []):
                names = [os.path.basename(path) for path in group]
                theirs |= {frozenset((a, b)) for i, a in enumerate(names) for b in names[:i]}
    else:
        theirs = set()
        for kind in fault[3]:
            column = f"is_{kind}_issue"
            if column in lab.issues:
                theirs |= {os.path.basename(path) for path in lab.issues.index[lab.issues[column]]}
    return ours, (len(wanted & theirs), len(theirs - wanted))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", required=True)
    parser.add_argument("--planted", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="part of a fault's name")
    args = parser.parse_args()
    photos = sorted(p for e in ("jpg", "png") for p in glob.glob(f"{args.photos}/*.{e}"))
    print(f"{len(photos)} photographs, {args.planted} planted\n")
    print("| fault | admix finds | on others too | CleanVision finds | on others too |")
    print("|---|---|---|---|---|")
    for fault in FAULTS:
        if args.only and args.only not in fault[0]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            planted, originals = plant(photos, fault, args.planted, folder)
            ours, theirs = score(fault, folder, planted, originals)
            print(f"| {fault[0]} | {ours[0]} | {ours[1]} | {theirs[0]} | {theirs[1]} |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(f"{folder}/images")
        for path in photos:
            shutil.copy(path, f"{folder}/images/")
        write_coco(folder)
        for jobs in (1, 2):
            rates = {"admix": [], "CleanVision": []}
            for _ in range(args.rounds):
                for name, run in (("admix", by_admix), ("CleanVision", by_cleanvision)):
                    began = time.perf_counter()
                    run(folder, jobs)
                    rates[name].append(len(photos) / (time.perf_counter() - began))
            ours, theirs = (statistics.median(rates[name]) for name in ("admix", "CleanVision"))
            print(f"\n{jobs} workers: admix {ours:.0f} images/s, CleanVision {theirs:.0f}, ratio {ours / theirs:.1f}")


if __name__ == "__main__":
    main()
