#!/usr/bin/env python3
"""Whether an exported detector finds in onnxruntime what admix finds.

    pip install onnxruntime pillow numpy
    benches/onnx_check.py MODEL PHOTOS...

Exports the detector in the folder MODEL, brings the photographs to the size of its input,
so that both see the same pixels, and compares all detections above a score of 0.1: boxes
must agree to 0.01 pixels and scores to 0.0001.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnxruntime
from PIL import Image

BORDER = 114


def letterboxed(photo, height, width):
    """The photograph in the middle of a grey image of the input's size."""
    scale = min(width / photo.width, height / photo.height)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    image = Image.new("RGB", (width, height), (BORDER,) * 3)
    image.paste(photo.resize(size), ((width - size[0]) // 2, (height - size[1]) // 2))
    return image


def iou(a, b):
    common = numpy.clip(numpy.minimum(a[2:], b[2:]) - numpy.maximum(a[:2], b[:2]), 0, None).prod()
    area = lambda box: (box[2:] - box[:2]).prod()
    return common / (area(a) + area(b) - common)


def suppressed(boxes, scores, threshold=0.01, overlap=0.5, most=100):
    """Class, box and score of what stays, best first."""
    cells, classes = numpy.nonzero(scores >= threshold)
    order = numpy.argsort(-scores[cells, classes], kind="stable")
    kept = []
    for cell, category in zip(cells[order], classes[order]):
        if all(category != other or iou(boxes[cell], box) <= overlap for other, box, _ in kept):
            kept.append((category, boxes[cell], scores[cell, category]))
    return kept[:most]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--admix", default="target/release/admix")
    parser.add_argument("--score", type=float, default=0.1)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp())
    file = folder / "detector.onnx"
    subprocess.run([options.admix, "export", "--model", options.model, "-o", file], check=True)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    _, _, height, width = session.get_inputs()[0].shape
    images = {}
    for index, path in enumerate(options.photos):
        name = str(folder / f"{index}.png")
        images[name] = letterboxed(Image.open(path).convert("RGB"), height, width)
        images[name].save(name)
    command = [options.admix, "predict", "--model", options.model, *images, "-o", folder / "found"]
    subprocess.run(command + ["--min-score", "0"], check=True, capture_output=True)
    found = json.loads((folder / "found/predictions.json").read_text())
    compared, worst_box, worst_score, missing = 0, 0.0, 0.0, 0
    for entry in found:
        pixels = numpy.asarray(images[entry["image"]], numpy.float32).transpose(2, 0, 1)[None]
        boxes, scores = session.run(["boxes", "scores"], {"images": pixels})
        ours = suppressed(boxes[0], scores[0])
        for wanted in entry["detections"]:
            if wanted["score"] < options.score:
                continue
            x, y, w, h = wanted["bbox"]
            box = numpy.array([x, y, x + w, y + h])
            clipped = lambda other: numpy.clip(other.reshape(2, 2), 0, (width, height)).reshape(4)
            gaps = [(numpy.abs(clipped(other) - box).max(), abs(score - wanted["score"]))
                    for category, other, score in ours if classes[category] == wanted["category"]]
            if not gaps or min(gaps)[0] > 1:
                missing += 1
                continue
            compared += 1
            worst_box, worst_score = max(worst_box, min(gaps)[0]), max(worst_score, min(gaps)[1])
    print(f"{compared} detections in {len(found)} photographs: boxes within {worst_box:.5f} px, "
          f"scores within {worst_score:.6f}; {missing} missing")
    sys.exit(missing > 0 or worst_box > 0.01 or worst_score > 1e-4 or compared == 0)


if __name__ == "__main__":
    main()
