"""The detector of admix, its layers and its loss, from PyTorch's own operations.

Parameters stand in the order of `Model::values` of `src/detector/model.rs`.
"""

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

# Expansion, channels, blocks and stride of each stage (Sandler et al. 2018, table 2).
STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
          (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
# Stages after which the neck takes features of stride 8 and 16.
TAKEN = (3, 5)
EPSILON = 1e-7


def scaled(channels, width):
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


class Detector(nn.Module):
    """Output `[N, 5 + class logits, rows, columns]` at `output_stride` 16, where strides 8, 16
    and 32 are joined, or 32."""

    def __init__(self, width, head_channels=64, output_stride=32, classes=1):
        super().__init__()
        channels = scaled(32, width)
        self.stem = layer(3, channels, 3, 2)
        self.stages = nn.ModuleList()
        taken = []
        for expansion, out, blocks, stride in STAGES:
            stage = []
            for block in range(blocks):
                stage.append(Residual(channels, scaled(out, width), stride if block == 0 else 1, expansion))
                channels = scaled(out, width)
            self.stages.append(nn.Sequential(*stage))
            if len(self.stages) in TAKEN:
                taken.append(channels)
        self.fine = nn.ModuleList()
        if output_stride == 16:
            self.fine.append(layer(taken[0], head_channels, 3, 2, act=None))
            self.fine.append(layer(taken[1], head_channels, 1, act=None))
        self.coarse = layer(channels, head_channels, 1, act=None)
        self.joined = nn.ReLU()
        blocks = []
        for _ in range(2):
            blocks += [layer(head_channels, head_channels, 3, groups=head_channels),
                       layer(head_channels, head_channels, 1)]
        self.blocks = nn.Sequential(*blocks)
        self.prediction = nn.Conv2d(head_channels, 5 + (classes if classes > 1 else 0), 1)

    def forward(self, x):
        x = self.stem(x)
        taken = []
        for number, stage in enumerate(self.stages, 1):
            x = stage(x)
            if number in TAKEN:
                taken.append(x)
        joined = self.coarse(x)
        if self.fine:
            fine = [layer(x) for layer, x in zip(self.fine, taken)]
            joined = sum(fine) + interpolate(joined, scale_factor=2, mode="nearest")
        return self.prediction(self.blocks(self.joined(joined)))


def overlap(predicted, wanted):
    """IoU and generalised IoU (Rezatofighi et al. 2019) of boxes `(cx, cy, w, h)`."""
    low = lambda boxes: boxes[:, :2] - boxes[:, 2:] / 2
    high = lambda boxes: boxes[:, :2] + boxes[:, 2:] / 2
    area = lambda boxes: boxes[:, 2] * boxes[:, 3]
    common = (torch.minimum(high(predicted), high(wanted)) - torch.maximum(low(predicted), low(wanted)))
    intersection = common.clamp(min=0).prod(1)
    union = area(predicted) + area(wanted) - intersection
    hull = (torch.maximum(high(predicted), high(wanted)) - torch.minimum(low(predicted), low(wanted))).prod(1)
    iou = intersection / (union + EPSILON)
    return iou, iou - (hull - union) / (hull + EPSILON)


def loss(output, objectness, positives, boxes, classes, objectness_weight=4.0, box_weight=2.0,
         distance_weight=0.5, class_weight=1.0):
    """Total and its three terms with admix's default loss; the cells lie row by row."""
    rows = output.permute(0, 2, 3, 1).reshape(-1, output.shape[1])
    found = rows[positives]
    predicted = torch.cat([found[:, 1:3], found[:, 3:5].clamp(-4, 5).exp()], 1)
    encoded = torch.cat([boxes[:, :2], boxes[:, 2:].log().clamp(-4, 5)], 1)
    iou, generalised = overlap(predicted, boxes)
    distance = (found[:, 1:5] - encoded).abs().sum(1)
    box = (1 - generalised + distance_weight * distance).mean()
    objectness = objectness.clone()
    objectness[positives] = iou.detach()
    error = (rows[:, 0].sigmoid() - objectness).abs() ** 2
    object_ = (binary_cross_entropy_with_logits(rows[:, 0], objectness, reduction="none") * error).sum()
    object_ = object_ / len(positives)
    class_ = binary_cross_entropy_with_logits(found[:, 5:], classes, reduction="none").sum(1).mean()
    total = objectness_weight * object_ + box_weight * box + class_weight * class_
    return torch.stack([total, object_, box, class_])
