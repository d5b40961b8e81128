"""Summary of scored rows: rows, errors by reason, frequency of each class, confidence of the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from convoy.images import REASONS

OTHER = "other"
_KNOWN = (*REASONS, "unreadable")
_SHOWN = 5


@dataclass(frozen=True)
class Summary:
    """Counts of scored rows.

    Attributes:
        rows: All rows.
        errors: Reason -> rows with it, the most frequent first; a reason is the word before the colon in ``error``.
        classes: Class name -> rows with that prediction, the most frequent first; classes without any are missing.
        mean_confidence: Mean probability of the predicted classes; None if no row has one.
    """

    rows: int
    errors: dict[str, int]
    classes: dict[str, int]
    mean_confidence: float | None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the job's JSON line."""
        return {
            "rows": self.rows,
            "errors": sum(self.errors.values()),
            "errors_by_reason": self.errors,
            "classes": self.classes,
            "mean_confidence": self.mean_confidence and round(self.mean_confidence, 6),
        }

    def text(self) -> str:
        """Format one line for people."""
        parts = [f"{sum(self.classes.values()):,} scored: {_shares(self.classes)}"] if self.classes else []
        parts += [f"mean confidence {self.mean_confidence:.3f}"] if self.mean_confidence is not None else []
        parts += [f"errors: {_most(self.errors)}"] if self.errors else []
        return "; ".join(parts) or "no rows"


def summarise(scored: DataFrame) -> Summary:
    """Count scored rows, in one pass; the driver gets one row per class and per reason.

    Args:
        scored: Rows with the columns ``prediction``, ``probability`` and ``error`` of ``score_images``, as written, so
            that they are not scored again. Of a table, the rows to count.
    """
    word = F.substring_index("error", ":", 1)
    reason = F.when(F.col("error").isNull(), None).when(word.isin(*_KNOWN), word).otherwise(OTHER)
    counted = (
        scored.select("prediction", "probability", reason.alias("reason"))
        .groupBy("prediction", "reason")
        .agg(F.count("*").alias("rows"), F.sum("probability").alias("confidence"))
        .collect()
    )
    errors, classes = dict[str, int](), dict[str, int]()
    confidence = 0.0
    for row in sorted(counted, key=lambda row: (-row["rows"], row["reason"] or "", row["prediction"] or "")):
        if row["reason"] is not None:
            errors[row["reason"]] = errors.get(row["reason"], 0) + row["rows"]
        elif row["prediction"] is not None:
            classes[row["prediction"]] = row["rows"]
            confidence += row["confidence"]
    total = sum(classes.values())
    return Summary(
        rows=sum(row["rows"] for row in counted),
        errors=errors,
        classes=classes,
        mean_confidence=confidence / total if total else None,
    )


def _shares(counts: Mapping[str, int]) -> str:
    """Format the most frequent classes with their shares."""
    total = sum(counts.values())
    shown = [f"{name} {count / total:.1%}" for name, count in list(counts.items())[:_SHOWN]]
    return ", ".join(shown + ([f"{len(counts) - _SHOWN:,} more classes"] if len(counts) > _SHOWN else []))


def _most(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
