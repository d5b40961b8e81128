"""Encoded images -> pixels for the network, in one process: Convoy beside plain Pillow and OpenCV.

    python benchmarks/decode.py [--rounds 9] [--images 40]

Every round runs every way once, in turn, so that a busy moment hits all of them; the best round counts, in CPU time of
this process. OpenCV takes part where it is installed (it is no dependency), with one thread. The images are cut from
the two photographs that scikit-learn comes with. The last line is JSON.
"""

import argparse
import io
import json
import sys
import time

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from convoy.images import Geometry, encode_png, prepare

try:
    import cv2
except ImportError:
    cv2 = None


def photographs(count, height, width, seed=0):
    """JPEGs (quality 85, 4:2:0) cut from random places of the two photographs, every other one mirrored."""
    random, sources = np.random.default_rng(seed), load_sample_images().images
    for i in range(count):
        source = np.asarray(Image.fromarray(sources[i % 2]).resize((max(width, 640), max(height, 427))))
        top, left = random.integers(0, [source.shape[0] - height + 1, source.shape[1] - width + 1])
        cut = source[top : top + height, left : left + width][:, :: -1 if i % 4 > 1 else 1]
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(cut)).save(buffer, "JPEG", quality=85)
        yield buffer.getvalue()


def digits(count):
    """Handwritten digits as grey PNGs of 28x28."""
    for digit in load_digits().images[:count]:
        yield encode_png(np.asarray(Image.fromarray((digit * 15.9).astype(np.uint8)).resize((28, 28)))[:, :, None])


def ways(geometry):
    """Name -> function of the file's bytes."""
    size, mode = (geometry.width, geometry.height), "L" if geometry.channels == 1 else "RGB"

    def pillow(content):
        image = Image.open(io.BytesIO(content)).convert(mode)
        return np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR))

    def opencv(interpolation):
        def decode(content):
            encoded = np.frombuffer(content, np.uint8)
            if geometry.channels == 1:
                pixels = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
            else:
                pixels = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            return pixels if pixels.shape[1::-1] == size else cv2.resize(pixels, size, interpolation=interpolation)

        return decode

    found = {"convoy": lambda content: prepare(content, geometry), "pillow": pillow}
    if cv2 is not None:
        cv2.setNumThreads(1)
        found |= {"opencv area": opencv(cv2.INTER_AREA), "opencv, not antialiased": opencv(cv2.INTER_LINEAR)}
    return found


def measure(files, geometry, rounds):
    """Name -> images per second of CPU time."""
    functions = ways(geometry)
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.process_time()
            for file in files:
                function(file)
            best[name] = min(best[name], time.process_time() - start)
    return {name: round(len(files) / seconds) for name, seconds in best.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=40)
    arguments = parser.parse_args()
    cases = {}
    for height, width, target in ((400, 533, 224), (400, 533, 96), (1200, 1600, 224), (224, 224, 224)):
        count = max(4, arguments.images * 400 * 533 // max(400 * 533, height * width))
        files = list(photographs(count, height, width))
        cases[f"JPEG {height}x{width} -> {target}x{target}"] = (files, Geometry(target, target, 3, "stretch"))
    cases["PNG 28x28, grey"] = (list(digits(10 * arguments.images)), Geometry(28, 28, 1, "none"))
    result = {}
    for case, (files, geometry) in cases.items():
        rates = result[case] = measure(files, geometry, arguments.rounds)
        shown = "; ".join(f"{name} {rate:,}/s ({rates['convoy'] / rate:.2f}x)" for name, rate in rates.items())
        print(f"{case}: {shown}", file=sys.stderr)
    print(json.dumps({"benchmark": "decode", "images_per_second": result}))


if __name__ == "__main__":
    main()
