#!/usr/bin/env python3
"""Augmentations a second of admix and of albumentations, on one core, by turns in one run.

    pip install albumentations==2.0.8 opencv-python-headless numpy
    cargo build --release
    python3 benches/peer_augmenters.py --photos DIR [--rounds 3]

DIR holds photographs, which are scaled to 640 x 384. Each operation is timed in turn by both, in
as many rounds; the table gives medians of images a second and their ratio. Both have ten boxes.

The last lines are a chain of six operations from JPEG to JPEG: albumentations in memory, admix as
the command that reads and writes files, with one worker and with all cores.
"""
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import argparse
import glob
import json
import statistics
import subprocess
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")
import albumentations as A
import cv2
import numpy as np

cv2.setNumThreads(1)

# Name, preset of admix, transform of albumentations.
OPERATIONS = [
    ("brightness", "exposure: {ev: {uniform: [-1, 1]}}",
     lambda: A.RandomBrightnessContrast(brightness_limit=(-.3, .3), contrast_limit=(0, 0), p=1)),
    ("gamma", "gamma: {power: {uniform: [0.5, 1.8]}}", lambda: A.RandomGamma(gamma_limit=(50, 180), p=1)),
    ("Gaussian noise", "corruption: {kind: gaussian_noise, severity: 2}",
     lambda: A.GaussNoise(std_range=(.12, .12), p=1)),
    ("shot noise", "corruption: {kind: shot_noise, severity: 2}", lambda: A.ShotNoise(p=1)),
    ("sensor noise", "noise: {shot: 0.005, read: 0.01}", lambda: A.ISONoise(p=1)),
    ("defocus", "defocus: {radius_px: {uniform: [3, 10]}}", lambda: A.Defocus(radius=(3, 10), p=1)),
    ("motion blur", "motion_blur: {length_px: {uniform: [7, 15]}, angle_deg: {uniform: [0, 180]}}",
     lambda: A.MotionBlur(blur_limit=(7, 15), p=1)),
    ("Gaussian blur", "corruption: {kind: gaussian_blur, severity: 2}",
     lambda: A.GaussianBlur(blur_limit=(15, 15), sigma_limit=(2, 2), p=1)),
    ("chromatic aberration", "chromatic_aberration: {}", lambda: A.ChromaticAberration(p=1)),
    ("fog", "fog: {visibility_m: 60}", lambda: A.RandomFog(p=1)),
    ("rain", "rain: {rate_mm_h: 20}", lambda: A.RandomRain(p=1)),
    ("snow", "snow: {flakes_m3: 100}", lambda: A.RandomSnow(p=1)),
    ("flip", "flip_horizontal: {}", lambda: A.HorizontalFlip(p=1)),
    ("affine", "affine: {rotate_deg: {uniform: [-10, 10]}, scale: {uniform: [0.8, 1.2]}}",
     lambda: A.Affine(scale=(.8, 1.2), rotate=(-10, 10), p=1)),
    ("perspective", "perspective: {pan_deg: {uniform: [-8, 8]}, tilt_deg: {uniform: [-8, 8]}}",
     lambda: A.Perspective(p=1)),
    ("lens distortion", "lens_distortion: {k1: {uniform: [-0.1, 0.3]}}", lambda: A.OpticalDistortion(p=1)),
    ("elastic", "elastic: {strength: 0.2}", lambda: A.ElasticTransform(p=1)),
    ("JPEG 30 to 70", "jpeg: {quality: {uniform: [30, 70]}}", lambda: A.ImageCompression(quality_range=(30, 70), p=1)),
]


PIPELINE = """steps:
  - {probability: 0.5, transform: {flip_horizontal: {}}}
  - {transform: {affine: {scale: {uniform: [1.0, 1.4]}, translate_x: {uniform: [-0.1, 0.1]}}}}
  - {transform: {exposure: {ev: {uniform: [-0.5, 0.5]}}}}
  - {transform: {colour_temperature: {kelvin: {uniform: [5000, 8000]}}}}
  - one_of:
      - {transform: {defocus: {radius_px: {uniform: [0.5, 2]}}}}
      - {transform: {motion_blur: {length_px: {uniform: [5, 11]}, angle_deg: {uniform: [0, 180]}}}}
      - {transform: {noise: {shot: 0.005, read: 0.01}}}
  - {probability: 0.5, transform: {jpeg: {quality: {uniform: [30, 70]}}}}
  - {transform: {jpeg: {quality: 90}}}
"""


def peer_pipeline():
    return A.Compose([
        A.HorizontalFlip(p=.5), A.RandomResizedCrop(size=(384, 640), scale=(.5, 1.), p=1),
        A.RandomBrightnessContrast(brightness_limit=(-.3, .3), contrast_limit=(-.3, .3), p=1),
        A.HueSaturationValue(p=1),
        A.OneOf([A.GaussianBlur(blur_limit=(3, 9), p=1), A.MotionBlur(blur_limit=(5, 11), p=1),
                 A.GaussNoise(std_range=(.02, .1), p=1)], p=1),
        A.ImageCompression(quality_range=(30, 70), p=.5),
    ], seed=7, bbox_params=A.BboxParams(format="pascal_voc", label_fields=["labels"]))


def pipeline(options, images, boxes):
    encoded = [cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
                            [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes() for image in images]
    count = 240
    transform = peer_pipeline()

    def peer():
        start = time.perf_counter()
        for index in range(count):
            data = np.frombuffer(encoded[index % len(encoded)], np.uint8)
            image = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            out = transform(image=image, bboxes=boxes, labels=list(range(10)))["image"]
            cv2.imencode(".jpg", cv2.cvtColor(out, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
        return count / (time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(f"{folder}/set/images")
        annotations = []
        for index in range(count):
            with open(f"{folder}/set/images/{index}.jpg", "wb") as file:
                file.write(encoded[index % len(encoded)])
            annotations += [dict(id=10 * index + i + 1, image_id=index + 1, category_id=1, iscrowd=0,
                                 bbox=[x0, y0, x1 - x0, y1 - y0], area=(x1 - x0) * (y1 - y0))
                            for i, (x0, y0, x1, y1) in enumerate(boxes)]
        coco = dict(images=[dict(id=index + 1, file_name=f"{index}.jpg", width=640, height=384)
                            for index in range(count)],
                    annotations=annotations, categories=[dict(id=1, name="thing")])
        with open(f"{folder}/set/annotations.json", "w") as file:
            json.dump(coco, file)
        with open(f"{folder}/pipeline.yaml", "w") as file:
            file.write(PIPELINE)

        def ours(jobs, run):
            start = time.perf_counter()
            subprocess.run([options.admix, "augment", f"{folder}/pipeline.yaml", "-i", f"{folder}/set",
                            "-o", f"{folder}/out{run}", "--jobs", str(jobs)],
                           check=True, capture_output=True)
            return count / (time.perf_counter() - start)

        one, all_cores, theirs = [], [], []
        for turn in range(options.rounds):
            one.append(ours(1, f"{turn}a"))
            theirs.append(peer())
            all_cores.append(ours(os.cpu_count(), f"{turn}b"))
    one, all_cores, theirs = map(statistics.median, (one, all_cores, theirs))
    print(f"{'six, JPEG to JPEG':<22}{one:>10.0f}{theirs:>10.0f}{one / theirs:>8.2f}")
    print(f"{f'the same, {os.cpu_count()} workers':<22}{all_cores:>10.0f}{'':>10}{all_cores / one:>8.2f} of one")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--photos", required=True)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    arguments.add_argument("--admix", default="target/release/admix")
    arguments.add_argument("--only", default="")
    options = arguments.parse_args()
    files = sorted(glob.glob(options.photos + "/*.[jp][pn]*g"))[:8]
    images = [cv2.cvtColor(cv2.resize(cv2.imread(file), (640, 384), interpolation=cv2.INTER_AREA),
                           cv2.COLOR_BGR2RGB) for file in files]
    boxes = [[64 * i, int(38.4 * (9 - i)), 64 * i + 64, int(38.4 * (10 - i))] for i in range(10)]
    with tempfile.TemporaryDirectory() as folder:
        for index, image in enumerate(images):
            cv2.imwrite(f"{folder}/{index}.png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        print(f"{'operation':<22}{'admix':>10}{'peer':>10}{'ratio':>8}")
        for name, preset, make in OPERATIONS:
            if options.only not in name:
                continue
            path = f"{folder}/preset.yaml"
            with open(path, "w") as file:
                file.write("steps:\n  - {transform: {" + preset + "}}\n")
            peer = A.Compose([make()], seed=7,
                             bbox_params=A.BboxParams(format="pascal_voc", label_fields=["labels"]))
            ours, theirs = [], []
            for _ in range(options.rounds):
                ours.append(rate_of_admix(options, path, folder))
                theirs.append(rate_of_peer(options, peer, images, boxes))
            ours, theirs = statistics.median(ours), statistics.median(theirs)
            print(f"{name:<22}{ours:>10.0f}{theirs:>10.0f}{ours / theirs:>8.2f}", flush=True)
    if options.only in "pipeline":
        pipeline(options, images, boxes)


def rate_of_admix(options, preset, folder):
    def run(count):
        command = [options.admix, "bench", "augment", preset, "-i", folder, "-n", str(count), "--json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    probe = run(8)["items_per_s"]
    return run(max(8, int(probe * options.seconds)))["items_per_s"]


def rate_of_peer(options, transform, images, boxes):
    def run(count):
        start = time.perf_counter()
        for index in range(count):
            transform(image=images[index % len(images)], bboxes=boxes, labels=list(range(10)))
        return count / (time.perf_counter() - start)

    probe = run(8)
    return run(max(8, int(probe * options.seconds)))


if __name__ == "__main__":
    main()
