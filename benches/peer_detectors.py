#!/usr/bin/env python3
"""admix's detector beside known ones: the same images, threads and seconds of training.

    pip install torch torchvision ultralytics pillow
    cargo build --release
    benches/peer_detectors.py DATA --set class_agnostic=die --set steps=400 ...

Trains admix with the given settings, and then, each for as many seconds as that took and
from random weights, YOLO11n (Ultralytics' recipe, at each of `--sizes`) and torchvision's
SSDLite320 MobileNetV3 (AdamW, cosine, flips). Scores the `--split` with `admix score`.

    make weights/mobilenet_v2-b0353104.pth
    benches/peer_detectors.py DATA --pretrained weights/mobilenet_v2-b0353104.pth --set ...

With `--pretrained` admix (at width 1) and torchvision's Faster R-CNN with a feature pyramid on
the same MobileNetV2, at 320 pixels, begin with these weights of ImageNet; the others are left
out, since no package registry has theirs.

Seconds are those of the training loop alone, without reading the images once; images counts
those that a training has seen.
"""

import argparse
import json
import math
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import time

THREADS = 2
BATCH = 16


def run(command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def load(folder, split, single):
    """Image records, annotations by image and category identifiers of a COCO split."""
    data = json.loads((folder / "annotations.json").read_text())
    splits = {}
    for line in (folder / "manifest.jsonl").read_text().splitlines():
        record = json.loads(line)
        splits[record["file_name"]] = record["split"]
    images = [image for image in data["images"] if splits[image["file_name"]] == split]
    known = {image["id"]: [] for image in images}
    for annotation in data["annotations"]:
        if annotation["image_id"] in known:
            if single:
                annotation["category_id"] = 1
            known[annotation["image_id"]].append(annotation)
    categories = [{"id": 1, "name": single}] if single else data["categories"]
    return images, known, categories


def train_admix(options, work):
    sets = [part for value in options.set for part in ("--set", value)]
    command = [options.admix, "train", "presets/train.yaml", "--set", f"data={work / 'coco'}", *sets]
    outcome = json.loads(run([*command, "--json", "-o", work / "admix"]))
    run([options.admix, "eval", "--model", work / "admix", "--data", work / "coco", "--split", options.split])
    detections = json.loads((work / "admix/detections.json").read_text())
    return outcome["train_s"], outcome["images_drawn"], detections


def yolo(options, work, data, size, seconds):
    import torch
    from ultralytics import YOLO

    torch.set_num_threads(THREADS)
    folder = work / "yolo"
    if not folder.exists():
        run([options.admix, "convert", options.data, folder, "--to", "yolo"])
    model = YOLO("yolo11n.yaml")
    moments = {"batches": 0}
    model.add_callback("on_train_epoch_start", lambda _: moments.setdefault("began", time.perf_counter()))
    model.add_callback("on_train_batch_end", lambda _: moments.update(
        ended=time.perf_counter(), batches=moments["batches"] + 1))
    model.train(data=str(folder / "data.yaml"), time=seconds / 3600, imgsz=size, batch=BATCH, workers=2,
                device="cpu", val=False, plots=False, cache="ram", single_cls=bool(options.single),
                project=str(work), name=f"yolo{size}", exist_ok=True, verbose=False)
    spent = moments["ended"] - moments["began"]
    model = YOLO(str(work / f"yolo{size}/weights/last.pt"))
    images, _, categories = data
    detections = []
    for image in images:
        path = next(folder.glob(f"images/*/{pathlib.Path(image['file_name']).name}"))
        found = model.predict(str(path), imgsz=size, conf=0.01, max_det=100, device="cpu", verbose=False)[0].boxes
        for (x0, y0, x1, y1), score, category in zip(found.xyxy.tolist(), found.conf.tolist(), found.cls.tolist()):
            detections.append({"image_id": image["id"], "category_id": categories[int(category)]["id"],
                               "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score})
    return spent, moments["batches"] * BATCH, detections


def ssdlite(classes):
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    return ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=1 + classes)


def faster_rcnn(weights):
    """Makes torchvision's Faster R-CNN on MobileNetV2 with weights of ImageNet, all layers learning."""

    def make(classes):
        import torch
        from torchvision.models import mobilenet_v2
        from torchvision.models.detection import FasterRCNN
        from torchvision.models.detection.anchor_utils import AnchorGenerator
        from torchvision.models.detection.backbone_utils import _mobilenet_extractor

        network = mobilenet_v2(weights=None)
        network.load_state_dict(torch.load(weights, weights_only=True))
        backbone = _mobilenet_extractor(network, True, 6)
        anchors = AnchorGenerator(((16, 32, 64, 128, 256),) * 3, ((0.5, 1.0, 2.0),) * 3)
        return FasterRCNN(backbone, 1 + classes, rpn_anchor_generator=anchors, min_size=320, max_size=320)

    return make


def torchvision_detector(make, rate, work, train, data, seconds):
    import torch
    from PIL import Image
    from torchvision.transforms.functional import to_tensor

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    random.seed(0)
    images, known, categories = train
    order = [category["id"] for category in categories]

    def read(image):
        path = work / "coco/images" / image["file_name"]
        return to_tensor(Image.open(path).convert("RGB").resize((320, 320)))

    samples = []
    for image in images:
        scale = torch.tensor([320 / image["width"], 320 / image["height"]] * 2)
        boxes = [[x, y, x + w, y + h] for x, y, w, h in (entry["bbox"] for entry in known[image["id"]])]
        labels = [1 + order.index(entry["category_id"]) for entry in known[image["id"]]]
        boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4) * scale
        samples.append((read(image), boxes, torch.tensor(labels, dtype=torch.int64)))
    model = make(len(order))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.02)
    began, seen = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        batch = []
        for pixels, boxes, labels in random.sample(samples, min(BATCH, len(samples))):
            if random.random() < 0.5:
                pixels = pixels.flip(2)
                boxes = torch.stack([320 - boxes[:, 2], boxes[:, 1], 320 - boxes[:, 0], boxes[:, 3]], 1)
            batch.append((pixels, {"boxes": boxes, "labels": labels}))
        for group in optimizer.param_groups:
            group["lr"] = rate * (0.01 + 0.99 * (1 + math.cos(math.pi * spent / seconds)) / 2)
        losses = model([pixels for pixels, _ in batch], [target for _, target in batch])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        seen += len(batch)
    model.eval()
    detections = []
    with torch.no_grad():
        for image in data[0]:
            found = model([read(image)])[0]
            scale = torch.tensor([image["width"] / 320, image["height"] / 320] * 2)
            boxes = (found["boxes"] * scale).tolist()
            for (x0, y0, x1, y1), score, label in zip(boxes, found["scores"].tolist(), found["labels"].tolist()):
                detections.append({"image_id": image["id"], "category_id": order[label - 1],
                                   "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score})
    return spent, seen, detections


def score(options, work, name, seconds, seen, detections, data):
    images, known, categories = data
    truth, found = work / "truth.json", work / "found.json"
    annotations = [entry for entries in known.values() for entry in entries]
    truth.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    found.write_text(json.dumps(detections))
    stats = json.loads(run([options.admix, "score", truth, found, "--json"]))["stats"] if detections else [0, 0]
    print(f"{name:<18} {seconds:6.0f} s   {seen:6} images   AP {stats[0]:.3f}   AP50 {stats[1]:.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of `admix train`")
    parser.add_argument("--split", default="val")
    parser.add_argument("--sizes", type=int, nargs="+", default=[320, 640], help="of YOLO's input")
    parser.add_argument("--times", type=float, default=1.0, help="seconds of the others, as a multiple of admix's")
    parser.add_argument("--admix", default="target/release/admix")
    parser.add_argument("--pretrained", metavar="FILE", help="torchvision's MobileNetV2, to begin with")
    options = parser.parse_args()
    if options.pretrained:
        options.set += ["width_multiplier=1", f"start={{weights: {options.pretrained}}}"]
    os.environ.update(OMP_NUM_THREADS=str(THREADS), YOLO_OFFLINE="true")
    options.single = next((value.split("=", 1)[1] for value in options.set if value.startswith("class_agnostic=")), None)
    work = pathlib.Path(tempfile.mkdtemp())
    run([options.admix, "convert", options.data, work / "coco", "--to", "coco"])
    train = load(work / "coco", "train", options.single)
    data = load(work / "coco", options.split, options.single)
    seconds, seen, detections = train_admix(options, work)
    score(options, work, "admix", seconds, seen, detections, data)
    seconds *= options.times
    if options.pretrained:
        peer = torchvision_detector(faster_rcnn(options.pretrained), 2e-4, work, train, data, seconds)
        score(options, work, "Faster R-CNN", *peer, data)
        options.sizes = []
    else:
        score(options, work, "SSDLite320", *torchvision_detector(ssdlite, 2e-3, work, train, data, seconds), data)
    for size in options.sizes:
        score(options, work, f"YOLO11n at {size}", *yolo(options, work, data, size, seconds), data)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
