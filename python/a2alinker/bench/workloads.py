"""What is measured. Each workload has the same shape on every path, so that the figures can be compared."""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Workload:
    """One column of the table."""

    kind: Literal["requests", "one way"]
    size: int  # bytes of a message's body
    unit: Literal["us", "/s", "MB/s"]  # of the figure: the median latency, messages in a second, or megabytes
    in_flight: int = 1  # requests that wait for their answers at a time
    receivers: int = 1


NUMBER_BYTES: Final = 8  # at the head of each body: its sequence number, big-endian
END: Final = (1 << 64) - 1  # the number that ends a one-way run

WORKLOADS: Final = {
    "request-reply": Workload("requests", 256, "us"),
    "64-in-flight": Workload("requests", 256, "/s", in_flight=64),
    "one-way": Workload("one way", 256, "/s"),
    "64-KiB": Workload("one way", 64 * 1024, "MB/s"),
    "1-to-8": Workload("one way", 256, "/s", receivers=8),
}
MOST_RECEIVERS: Final = max(workload.receivers for workload in WORKLOADS.values())
