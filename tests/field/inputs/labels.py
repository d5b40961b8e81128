"""Tables and manifests whose labels are more, or less, than the name of a class."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def image(seed):
    """Return an encoded image of 6 x 5 pixels, another one for each seed."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def partitions(root, values, name="label"):
    """Write ``label=<value>/<n>.png``."""
    for i, value in enumerate(values):
        (root / f"{name}={value}").mkdir(parents=True)
        for j in range(2):
            (root / f"{name}={value}" / f"{j}.png").write_bytes(image([i, j]))
    return root


def manifest(path, labels, header=("path", "label"), separator=","):
    """Write a CSV file with a row for each label."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(header)
        writer.writerows((f"{i}.png", label) for i, label in enumerate(labels))
    return path


def chest_findings(n=60):
    """Return labels such as ``Effusion|Mass``, one or two of three."""
    names = ("Effusion", "Mass", "Nodule")
    return [names[i % 3] if i % 2 else "|".join(sorted({names[i % 3], names[i // 3 % 3]})) for i in range(n)]


def hugging_face(path, where="footer", labels=None, names=("dog", "cat")):
    """Write a Parquet file with ``{bytes, path}`` and a ``ClassLabel``, whose names are in one of three places."""
    labels = [i % 2 for i in range(20)] if labels is None else labels
    rows = [{"bytes": image(i), "path": f"{i}.png"} for i in range(len(labels))]
    table = pa.table({"image": rows, "label": pa.array(labels, pa.int64())})
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    if where == "footer":
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    elif where == "dataset_info.json":
        (path.parent / where).write_text(json.dumps({"features": features}))
    elif where == "README.md":
        listed = "\n".join(f"          '{i}': {name}" for i, name in enumerate(names))
        card = "  features:\n  - name: image\n    dtype: image\n  - name: label\n    dtype:\n      class_label:\n"
        text = f"---\nlicense: mit\ndataset_info:\n{card}        names:\n{listed}\n---\n# Animals\n"
        (path.parent.parent / where).write_text(text)
    pq.write_table(table, path)
    return path
