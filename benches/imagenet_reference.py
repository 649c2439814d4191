#!/usr/bin/env python3
"""Logits of torchvision's MobileNetV2 for the image of the test
`imagenet_logits_agree_with_torchvision` in src/detector/pretrained.rs.

    pip install torch torchvision
    make pretrained
    benches/imagenet_reference.py
"""

import torch
import torchvision

model = torchvision.models.mobilenet_v2()
model.load_state_dict(torch.load("weights/mobilenet_v2-b0353104.pth"))
y, x = torch.meshgrid(torch.arange(192), torch.arange(224), indexing="ij")
image = torch.stack([x % 256, y % 256, (x // 16 + y // 16) % 2 * 200]).float() / 255
mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
with torch.no_grad():
    logits = model.double().eval()(((image - mean) / deviation).double()[None])[0]
best = logits.topk(4).indices.tolist()
print(", ".join(f"({index}, {logits[index]:.5f})" for index in sorted({*best, 0, 500, 999})))
