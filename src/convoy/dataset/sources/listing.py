"""The columns in which every source lists its samples."""

import pyarrow as pa

LISTING_SCHEMA = pa.schema([(name, pa.string()) for name in ("path", "name", "class_name", "split")])
LISTING = ", ".join(f"{name} string" for name in LISTING_SCHEMA.names)
