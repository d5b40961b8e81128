"""The definition of a table of Spark's catalog: what a replacement of the table would lose."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

# Written by Spark, Hive and Delta themselves; all others are the user's.
_OWN_PROPERTIES = ("delta.min", "delta.feature.", "delta.lastUpdate", "delta.lastCommit", "spark.sql.", "option.")
_OWN_NAMES = frozenset({"transient_lastDdlTime", "numFiles", "numRows", "rawDataSize", "totalSize", "owner"})


@dataclass(frozen=True)
class TableDefinition:
    """The definition of a table.

    Attributes:
        schema: Its columns, in their order; those of partitions last.
        provider: Spark's name of its format, e.g. ``parquet``; empty if unknown.
        partitioned: Whether it has partition columns.
        is_view: Whether it is a view, which cannot be written to.
        kept: What a new table of the same name would not have, in words.
    """

    schema: StructType
    provider: str
    partitioned: bool
    is_view: bool
    kept: tuple[str, ...]

    def has_columns(self, schema: StructType) -> bool:
        """Return whether the table has exactly the columns of a schema, in any order."""
        return _types(self.schema) == _types(schema)


def table_definition(spark: SparkSession, name: str) -> TableDefinition:
    """Return the definition of an existing table.

    Raises:
        PySparkException: There is no such table, or Spark cannot describe it.
    """
    schema = spark.table(name).schema
    rows = [
        (row[0].strip(), row[1] or "", row[2] or "") for row in spark.sql(f"DESCRIBE TABLE EXTENDED {name}").collect()
    ]
    # Columns come first, and may have the name of a fact.
    details = itertools.dropwhile(lambda row: not row[0].startswith("# "), rows)
    facts = {key: value for key, value, _ in details}
    partitioned = "# Partition Information" in facts or "# Partitioning" in facts
    column_comments = [key for key, _, comment in rows if key in schema.names and comment not in ("", "comment")]
    kept = {
        "its partitions": partitioned,
        "its clustering": "# Clustering Information" in facts,
        "its buckets": "Num Buckets" in facts,
        "its comment": bool(facts.get("Comment")),
        "comments of its columns": bool(column_comments),
        "its location": facts.get("Type") == "EXTERNAL",
        "its properties": _has_properties(facts.get("Table Properties", "")),
        "columns that are not null": any(not field.nullable for field in schema),
    }
    provider = facts.get("Provider", "").lower()
    is_view = not facts or facts.get("Type", "").endswith("VIEW")  # of a temporary one, there are only its columns
    return TableDefinition(schema, provider, partitioned, is_view, tuple(what for what, there in kept.items() if there))


def _types(schema: StructType) -> Mapping[str, str]:
    return {field.name: field.dataType.simpleString() for field in schema}


def _has_properties(text: str) -> bool:
    """Return whether there are properties that the user has set, in the text ``[name=value,name=value]``."""
    names = [part.partition("=")[0].strip() for part in text.strip("[]").split(",") if "=" in part]
    return any(name not in _OWN_NAMES and not name.startswith(_OWN_PROPERTIES) for name in names)
