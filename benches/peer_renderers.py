#!/usr/bin/env python3
"""Frames a second of admix and of MuJoCo, the fastest known renderer with ids and shadows that
runs without a GPU, in turn.

    apt-get install libegl1        # Mesa's EGL for MuJoCo
    pip install mujoco numpy
    cargo build --release
    benches/peer_renderers.py --rounds 5

Both draw thirty meshes of about 2,400 triangles (balls and rounded blocks) on a ground in the
sun, at 640x384 with a shadow map of 1,024 texels, and read back colour, object ids and depth:
admix `scenes/bench_30_meshes.yaml` with physically based shading, light from all around and
levels of detail, MuJoCo with its own, simpler shading. `plain` is one sample a pixel, `smooth`
admix with 2x2 samples where surfaces meet and MuJoCo with 4x multisampling. Milliseconds are
wall time a frame on all cores, the median of the rounds; each round is a process of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SCENE = "scenes/bench_30_meshes.yaml"
WIDTH, HEIGHT = 640, 384


def ball():
    import numpy as np

    rows, columns = 23, 55
    theta = np.linspace(0, np.pi, rows + 1)
    phi = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    points = [
        (np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)) for t in theta for p in phi
    ]
    return np.array(points), grid_faces(rows, columns)


def grid_faces(rows, columns):
    faces = []
    for i in range(rows):
        for j in range(columns):
            a, b = i * columns + j, i * columns + (j + 1) % columns
            faces += [(a, a + columns, b), (b, a + columns, b + columns)]
    return faces


def block():
    """A ball pressed towards a cube, to a half side of 0.8."""
    import numpy as np

    points, faces = ball()
    points = np.sign(points) * np.abs(points) ** 0.3
    return points / np.abs(points).max() * 0.8, faces


def model_of(seed, smooth):
    """A MuJoCo model of one scene as XML."""
    import numpy as np

    random = np.random.default_rng(seed)
    assets, bodies = [], []
    shapes = [ball(), block()]
    for number in range(30):
        points, faces = shapes[number % 2]
        size = random.uniform(0.35, 0.73)
        vertices = " ".join(f"{x:.5f}" for x in (points * size).ravel())
        indices = " ".join(str(i) for face in faces for i in face)
        assets.append(f'<mesh name="m{number}" vertex="{vertices}" face="{indices}"/>')
        column, row = number % 6, number // 6
        x, y = (column - 2.5) * 1.6 + random.uniform(-0.3, 0.3), (row - 2) * 1.6 + random.uniform(-0.3, 0.3)
        red, green, blue = random.uniform(0.05, 0.9, 3)
        bodies.append(
            f'<geom type="mesh" mesh="m{number}" pos="{x} {y} {size}" euler="0 0 {random.uniform(0, 360)}"'
            f' rgba="{red} {green} {blue} 1" contype="0" conaffinity="0"/>'
        )
    azimuth = random.uniform(0, 2 * np.pi)
    distance, tilt = random.uniform(7.6, 9.1), np.radians(random.uniform(58, 66))
    eye = distance * np.array(
        [np.sin(tilt) * np.cos(azimuth), np.sin(tilt) * np.sin(azimuth), np.cos(tilt)]
    )
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0])
    up = np.cross(eye / distance, right)
    light = np.array([0.5, 0.1, -0.86])
    axes = " ".join(f"{x}" for x in [*right, *up])
    return f"""<mujoco><visual><global offwidth="{WIDTH}" offheight="{HEIGHT}"/>
<quality shadowsize="1024" offsamples="{4 if smooth else 0}"/></visual>
<asset>{"".join(assets)}</asset><worldbody>
<light directional="true" castshadow="true" pos="-7 -1.5 13" dir="{light[0]} {light[1]} {light[2]}"/>
<geom type="box" size="7 7 0.01" pos="0 0 -0.01" rgba=".55 .52 .48 1"/>{"".join(bodies)}
<camera name="c" pos="{eye[0]} {eye[1]} {eye[2]}" xyaxes="{axes}" fovy="45"/></worldbody></mujoco>"""


def run_mujoco(frames, smooth, picture):
    """Prints the milliseconds a frame."""
    os.environ["MUJOCO_GL"] = "egl"
    import mujoco

    model = mujoco.MjModel.from_xml_string(model_of(0, smooth))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = mujoco.Renderer(model, HEIGHT, WIDTH)
    renderer.update_scene(data, camera="c")
    renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 1

    def frame():
        colour = renderer.render()
        renderer.enable_depth_rendering()
        renderer.render()
        renderer.disable_depth_rendering()
        renderer.enable_segmentation_rendering()
        renderer.render()
        renderer.disable_segmentation_rendering()
        return colour

    colour = frame()
    if picture:
        from PIL import Image

        Image.fromarray(colour).save(picture)
    begin = time.perf_counter()
    for _ in range(frames):
        frame()
    print((time.perf_counter() - begin) * 1e3 / frames)


def run_admix(frames, smooth):
    scene = SCENE
    command = ["target/release/admix", "bench", "render", scene, "-n", str(frames), "--json"]
    command += ["--set", f"image.supersampling={2 if smooth else 1}"]
    return 1e3 / json.loads(subprocess.check_output(command))["items_per_s"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--mujoco", choices=["plain", "smooth"], help=argparse.SUPPRESS)
    parser.add_argument("--picture", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mujoco:
        return run_mujoco(options.frames, options.mujoco == "smooth", options.picture)
    times = {}
    for number in range(options.rounds):
        for form in ["plain", "smooth"]:
            ours = run_admix(options.frames, form == "smooth")
            command = [sys.executable, __file__, "--mujoco", form, "--frames", str(options.frames)]
            theirs = float(subprocess.check_output(command, text=True))
            times.setdefault((form, "admix"), []).append(ours)
            times.setdefault((form, "MuJoCo"), []).append(theirs)
            print(f"round {number + 1}, {form}: admix {ours:.1f} ms, MuJoCo {theirs:.1f} ms", file=sys.stderr)
    for form in ["plain", "smooth"]:
        ours, theirs = (statistics.median(times[form, name]) for name in ["admix", "MuJoCo"])
        print(f"{form}: admix {ours:.1f} ms, MuJoCo {theirs:.1f} ms, {theirs / ours:.2f} x")


if __name__ == "__main__":
    main()
