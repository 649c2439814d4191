#!/usr/bin/env python3
"""Milliseconds a path-traced frame of admix and of Mitsuba 3, in turn.

    apt-get install libllvm15      # for Mitsuba's LLVM variant
    pip install mitsuba numpy
    cargo build --release
    benches/peer_path_tracers.py --rounds 3

Both draw thirty meshes (balls and rounded blocks, half of them of metal) on a ground in the sun
and even light, at 640x384 with 16 paths a pixel of up to four segments, and give colour, object
ids, normals and depth. Mitsuba runs its fastest variant here, `llvm_ad_rgb`; its scene is loaded
before the clock starts. admix draws `scenes/bench_30_meshes.yaml`, builds its hierarchy within the
time, and smooths the picture unless `--plain` is given. Each round is a process of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from peer_renderers import HEIGHT, SCENE, WIDTH, ball, block

PATHS = 16


def write_mesh(path, points, faces):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"v {x:.6f} {y:.6f} {z:.6f}\n" for x, y, z in points)
        file.writelines(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in faces)


def run_mitsuba(frames, picture):
    """Prints the milliseconds a frame."""
    import mitsuba as mi
    import numpy as np

    mi.set_variant("llvm_ad_rgb")
    transform = mi.ScalarTransform4f
    random = np.random.default_rng(0)
    path = {"type": "path", "max_depth": 4}
    aovs = "depth:depth,normal:sh_normal,id:shape_index"
    film = {"type": "hdrfilm", "width": WIDTH, "height": HEIGHT, "rfilter": {"type": "box"}}
    scene = {
        "type": "scene",
        "integrator": {"type": "aov", "aovs": aovs, "image": path},
        "sensor": {
            "type": "perspective",
            "fov": 45,
            "fov_axis": "y",
            "to_world": transform().look_at([5.5, 4.5, 4.4], [0, 0, 0], [0, 0, 1]),
            "film": film,
            "sampler": {"type": "independent", "sample_count": PATHS},
        },
        "sun": {
            "type": "directional",
            "direction": [0.5, 0.1, -0.86],
            "irradiance": {"type": "rgb", "value": [2.6, 2.5, 2.3]},
        },
        "sky": {"type": "constant", "radiance": {"type": "rgb", "value": [0.4, 0.45, 0.5]}},
        "ground": {
            "type": "rectangle",
            "to_world": transform().scale([7, 7, 1]),
            "bsdf": {"type": "diffuse"},
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, (points, faces) in [("ball", ball()), ("block", block())]:
            write_mesh(f"{folder}/{name}.obj", points, faces)
        for number in range(30):
            size = random.uniform(0.35, 0.73)
            column, row = number % 6, number // 6
            x = (column - 2.5) * 1.6 + random.uniform(-0.3, 0.3)
            y = (row - 2) * 1.6 + random.uniform(-0.3, 0.3)
            turned = transform().rotate([0, 0, 1], random.uniform(0, 360))
            material = {
                "type": "principled",
                "base_color": {"type": "rgb", "value": random.uniform(0.05, 0.9, 3).tolist()},
                "roughness": random.uniform(0.1, 0.8),
                "metallic": float(number % 4 > 1),
            }
            scene[f"object_{number}"] = {
                "type": "obj",
                "filename": f"{folder}/{['ball', 'block'][number % 2]}.obj",
                "to_world": transform().translate([x, y, size]) @ turned @ transform().scale(size),
                "bsdf": material,
            }
        loaded = mi.load_dict(scene)
    image = np.array(mi.render(loaded, seed=0))
    if picture:
        mi.util.write_bitmap(picture, image[..., :3])
    begin = time.perf_counter()
    for frame in range(frames):
        np.array(mi.render(loaded, seed=frame + 1))
    print((time.perf_counter() - begin) * 1e3 / frames)


def run_admix(frames, denoise):
    traced = f"{{path_traced: {{samples: {PATHS}, bounces: 2, denoise: {str(denoise).lower()}}}}}"
    command = ["target/release/admix", "bench", "render", SCENE, "-n", str(frames), "--json"]
    command += ["--set", f"image.renderer={traced}"]
    return 1e3 / json.loads(subprocess.check_output(command))["items_per_s"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--plain", action="store_true", help="leave admix's smoothing out")
    parser.add_argument("--mitsuba", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--picture", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mitsuba:
        return run_mitsuba(options.frames, options.picture)
    times = {"admix": [], "Mitsuba": []}
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.abspath(__file__))}
    for number in range(options.rounds):
        ours = run_admix(options.frames, not options.plain)
        command = [sys.executable, __file__, "--mitsuba", "--frames", str(options.frames)]
        theirs = float(subprocess.check_output(command, text=True, env=environment))
        times["admix"].append(ours)
        times["Mitsuba"].append(theirs)
        print(f"round {number + 1}: admix {ours:.0f} ms, Mitsuba {theirs:.0f} ms", file=sys.stderr)
    ours, theirs = (statistics.median(times[name]) for name in ["admix", "Mitsuba"])
    print(f"admix {ours:.0f} ms, Mitsuba {theirs:.0f} ms, {theirs / ours:.2f} x")


if __name__ == "__main__":
    main()
