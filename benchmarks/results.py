"""Stored results of a run, and the times at a gap, from which all tables and pictures are made."""

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

# relative gaps at which times are reported, the smallest first
GAPS = (1e-8, 1e-6, 1e-3)
HEADLINE = GAPS[0]


@dataclass
class RungRecord:
    """All fits at one rung: their seconds and the worst of their objectives, or the reason of a failure."""

    label: str
    default: bool = False
    seconds: list[float] = field(default_factory=list)
    objective: float | None = None
    iterations: int | None = None
    failure: str | None = None
    timed_out: bool = False

    @property
    def time(self):
        """Median time of the repeats; the first fit, which is not interleaved, counts only if it is the only one."""
        return statistics.median(self.seconds[1:] or self.seconds)

    def add(self, seconds, objective, iterations):
        """Add the result of one more fit."""
        self.seconds.append(seconds)
        self.objective = objective if self.objective is None else max(self.objective, objective)
        self.iterations = iterations


@dataclass
class Entry:
    """Results of a contestant on a workload; `refusal` is the reason if it did not run."""

    name: str
    refusal: str | None = None
    rungs: list[RungRecord] = field(default_factory=list)
    whole: bool = True  # whether the plan included every rung of the ladder
    peak_mib: float | None = None
    peak_rung: str | None = None
    readings: float | None = None  # of X, at the rung of the headline gap or else the tightest

    def finished(self):
        """Return the rungs that ended with a finite objective."""
        return [rung for rung in self.rungs if rung.objective is not None and rung.objective < float("inf")]

    def reaching(self, gap, best):
        """Return the rungs within a relative gap; at the headline gap only the default rung, if there is one."""
        eligible = self.finished()
        if gap == HEADLINE and any(rung.default for rung in self.rungs):
            eligible = [rung for rung in eligible if rung.default]
        return [rung for rung in eligible if relative_gap(rung.objective, best) <= gap]

    def cheapest(self, gap, best):
        """Return the fastest rung within a gap, or None; rungs with repeats take precedence over those without."""
        reaching = self.reaching(gap, best)
        repeated = [rung for rung in reaching if len(rung.seconds) > 1]
        return min(repeated or reaching, key=lambda rung: rung.time, default=None)

    @property
    def timed_out(self):
        """Whether a fit exceeded the time limit."""
        return any(rung.timed_out for rung in self.rungs)


@dataclass
class Record:
    """All measurements on one workload."""

    name: str
    group: str
    description: str
    limit: float
    environment: dict[str, Any]
    series: str | None = None
    size: int | None = None
    skipped: str | None = None
    rows: int = 0
    columns: int = 0
    classes: int = 0
    stored: str = ""
    pass_seconds: float | None = None
    entries: list[Entry] = field(default_factory=list)

    @property
    def best(self):
        """Lowest objective of any contestant; None if all ran into the time limit, so that the optimum is unknown."""
        if all(entry.timed_out for entry in self.entries if entry.rungs):
            return None
        return min((rung.objective for entry in self.entries for rung in entry.finished()), default=None)

    def rung_of(self, entry, gap):
        """Return the cheapest rung within the gap, or None."""
        return None if self.best is None else entry.cheapest(gap, self.best)

    def time_of(self, entry, gap):
        """Return the seconds of the cheapest rung within the gap, or None."""
        rung = self.rung_of(entry, gap)
        return None if rung is None else rung.time


def relative_gap(objective, best):
    """Return the difference of an objective from the best one, relative to the best one."""
    return (objective - best) / best


def save(path, records):
    """Write all records as one JSON file."""
    path.write_text(json.dumps({"workloads": [asdict(record) for record in records]}, indent=1))


def load(paths):
    """Read records from files; entries of a later file replace those of the same workload and contestant."""
    records = {}
    for path in paths:
        for item in json.loads(path.read_text())["workloads"]:
            item["entries"] = [
                Entry(**{**entry, "rungs": [RungRecord(**rung) for rung in entry["rungs"]]})
                for entry in item["entries"]
            ]
            record = Record(**item)
            earlier = records.get(record.name)
            if earlier is not None:
                replaced = {entry.name for entry in record.entries}
                record.entries += [entry for entry in earlier.entries if entry.name not in replaced]
            records[record.name] = record
    return list(records.values())
