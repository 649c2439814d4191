#!/usr/bin/env python3
"""What a frame costs against its objects, lights, pixels and samples, as a table and a plot.

    pip install matplotlib
    cargo build --release
    benches/render_costs.py --rounds 3 --plot docs/figures/render_costs.png

Each point is `admix bench render scenes/bench_30_meshes.yaml` with one value changed. Rounds go
through all points in turn, so that a busy machine slows all alike; a cost is the median of the
rounds, and is given over that of the scene as it stands, drawn in the same rounds.
"""

import argparse
import json
import statistics
import subprocess

SCENE = "scenes/bench_30_meshes.yaml"
LAMP = "{point: {intensity: 8, kelvin: 5000, position_mm: [%d, %d, 4000], diameter_mm: %d}}"
TRACED = "image.renderer={path_traced: {samples: %d}}"


def lamps(count, diameter_mm=0):
    places = [(3000, 3000), (-3000, 3000), (3000, -3000), (-3000, -3000)][:count]
    lights = ", ".join(LAMP % (x, y, diameter_mm) for x, y in places)
    return "lights=[%s]" % lights


def points():
    """Name of the axis, value, whether it is path-traced, overrides."""
    for count in (0, 10, 30, 60, 90):
        yield "objects", count, False, [f"placement.count={count}"]
    for count in (0, 1, 2, 4):
        yield "lights", count, False, [lamps(count)]
    for count in (1, 2, 4):
        yield "soft lights", count, False, [lamps(count, 600)]
    for scale in (1, 2, 3, 4):
        size = [f"image.width_px={320 * scale}", f"image.height_px={192 * scale}"]
        yield "megapixels", 320 * scale * 192 * scale / 1e6, False, size
    for samples in (1, 2):
        yield "samples along an axis", samples, False, [f"image.supersampling={samples}"]
    for samples in (1, 4, 16, 64):
        yield "paths a pixel", samples, True, [TRACED % samples]


def milliseconds(overrides, is_traced):
    command = ["target/release/admix", "bench", "render", SCENE, "--json"]
    command += ["-n", "3" if is_traced else "20"]
    for text in overrides:
        command += ["--set", text]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return 1000 / json.loads(result.stdout)["items_per_s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", help="PNG file to write")
    arguments = parser.parse_args()
    measured = {}
    for _ in range(arguments.rounds):
        for axis, value, is_traced, overrides in [("", 0, False, []), *points()]:
            found = milliseconds(overrides, is_traced)
            measured.setdefault((axis, value), []).append(found)
    medians = {point: statistics.median(found) for point, found in measured.items()}
    whole = medians[("", 0)]
    print(f"the scene as it stands: {whole:.1f} ms")
    print("| axis | value | ms | over the scene as it stands |")
    print("|---|---|---|---|")
    for (axis, value), found in medians.items():
        if axis:
            print(f"| {axis} | {value:g} | {found:.1f} | {found / whole:.2f} |")
    if arguments.plot:
        plot(medians, whole, arguments.plot)


def plot(medians, whole, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = [["objects"], ["lights", "soft lights"], ["megapixels"], ["paths a pixel"]]
    figure, all_axes = plt.subplots(1, 4, figsize=(11, 2.8), constrained_layout=True)
    for axes, names in zip(all_axes, panels):
        for name in names:
            line = [(value, found / whole) for (axis, value), found in medians.items() if axis == name]
            axes.plot(*zip(*line), marker="o", markersize=4, label=name)
        axes.set_xlabel(names[0])
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend(frameon=False, fontsize=8)
    all_axes[0].set_ylabel("cost over that of\nthe scene as it stands")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
