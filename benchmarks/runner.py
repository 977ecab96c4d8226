"""Schedule of the fits: one workload after the other, each in a process that can be killed."""

import multiprocessing
from dataclasses import dataclass

from benchmarks.contestants import CONTESTANTS
from benchmarks.environment import with_libraries
from benchmarks.readings import is_counted
from benchmarks.results import GAPS, HEADLINE, Entry, Record, RungRecord
from benchmarks.worker import SHORT_SECONDS, serve

# a fit longer than this many seconds is repeated only once
LONG_SECONDS = 10.0
# fits in a row of which the median counts, if they are short: of the first fits, of which the cheapest rungs are chosen
FIRST_SHORT_FITS = 9
# rungs within this factor of the cheapest time are repeated, because single times vary
NEAR = 1.5
# after so many repeats, only those within this factor
FIRST_REPEATS, NEARER = 5, 1.05


@dataclass(frozen=True)
class Plan:
    """The options of the command line that define a run."""

    contestants: tuple[str, ...]
    repeats: int
    short_repeats: int  # of fits shorter than SHORT_SECONDS
    limit: float
    data: str | None
    memory: bool
    rungs: int | None = None  # largest number of each ladder; None is all

    def repeats_of(self, seconds):
        """Return how often a fit that takes so many seconds is repeated."""
        if seconds > LONG_SECONDS:
            return min(self.repeats, 1)
        return max(self.repeats, self.short_repeats) if seconds < SHORT_SECONDS and self.repeats else self.repeats


class NoAnswerError(Exception):
    """Raised with the reason when a fit exceeds the time limit or fails, or its process dies."""

    def __init__(self, reason, *, timed_out):
        super().__init__(reason)
        self.timed_out = timed_out


class Worker:
    """Handle of a process that holds one workload, which is restarted after it was stopped."""

    def __init__(self, workload, data):
        self._arguments = (workload.name, data)
        self._process = None
        self.facts, self.skipped = None, None
        self._start()

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, *self._arguments), daemon=True)
        self._process.start()
        theirs.close()
        try:
            kind, value = self._pipe.recv()
        except EOFError:
            kind, value = "skipped", "the process died while it loaded the data"
        self.facts, self.skipped = (value, None) if kind == "loaded" else (None, value)

    def ask(self, *request, limit=None):
        """Return the answer to a request; stop the process if the fit takes longer than `limit` seconds."""
        if not self._process.is_alive():
            self._start()
        try:
            self._pipe.send(request)
            if not self._pipe.poll(limit):
                self.stop()
                raise NoAnswerError(f"longer than {limit:g} s", timed_out=True)
            kind, value = self._pipe.recv()
            if kind == "seconds":
                kind, value = self._pipe.recv()
        except (EOFError, OSError):
            self.stop()
            raise NoAnswerError("its process died", timed_out=False) from None
        if kind == "failed":
            raise NoAnswerError(value, timed_out=False)
        return value

    def stop(self):
        """Kill the process; the next request starts a new one."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def run_workload(workload, plan, report, too_slow):
    """Run the contestants on a workload and return the `Record` of it.

    Parameters
    ----------
    workload : Workload
        The data to fit.
    plan : Plan
        The contestants and the options of the run.
    report : callable
        Called before each step with the number of remaining steps and a description.
    too_slow : set of str
        Contestants that were too slow for a smaller size of this growth series; the function adds to it.

    Returns
    -------
    Record
        All measurements.
    """
    description = {"name": workload.name, "group": workload.group, "description": workload.description}
    record = Record(**description, limit=plan.limit, environment={}, series=workload.series, size=workload.size)
    report(1, "loading")
    worker = Worker(workload, plan.data)
    try:
        if worker.skipped is not None:
            record.skipped = worker.skipped
            record.environment = with_libraries()
            return record
        facts = dict(worker.facts)
        needs = {key: facts.pop(key) for key in ("stored_sparse", "weighted")}
        for key, value in facts.items():
            setattr(record, key, value)
        record.pass_seconds = worker.ask("pass")
        for name in plan.contestants:
            refusal = CONTESTANTS[name].refusal(n_classes=record.classes, **needs)
            if refusal is None and name in too_slow:
                refusal = "too slow at a smaller size"
            record.entries.append(Entry(name, refusal))
        _run_ladders(worker, record, plan, report)
        too_slow.update(entry.name for entry in record.entries if entry.timed_out and not entry.finished())
        _repeat(worker, record, plan, report)
        _count_readings(worker, record, plan, report)
    finally:
        worker.stop()
    if plan.memory:
        _measure_peaks(workload, record, plan, report)
    return record


def _run_ladders(worker, record, plan, report):
    """Fit each contestant once at each rung, from the loosest to the tightest, until a fit exceeds the limit."""
    for entry in (entry for entry in record.entries if entry.refusal is None):
        ladder = CONTESTANTS[entry.name].rungs(plan.rungs)
        entry.whole = ladder == CONTESTANTS[entry.name].ladder
        try:
            worker.ask("warm", entry.name, limit=plan.limit)
        except NoAnswerError as error:
            entry.refusal = str(error)
            continue
        for index, rung in enumerate(ladder):
            report(len(ladder) - index, f"{entry.name}, {rung.label}")
            entry.rungs.append(RungRecord(rung.label, rung.default))
            if not _fit(worker, entry, index, FIRST_SHORT_FITS, plan.limit):
                break
            # the limit applies to each single fit
            if entry.rungs[-1].time > plan.limit:
                break


def _fit(worker, entry, index, n_short, limit):
    """Add one fit to a rung, or the median of `n_short` short ones; return whether it succeeded within the limit."""
    rung = entry.rungs[index]
    try:
        rung.add(*worker.ask("fit", entry.name, rung.label, n_short, limit=limit))
    except NoAnswerError as error:
        rung.failure, rung.timed_out = str(error), error.timed_out
        return False
    return True


def _repeat_candidates(record, near=NEAR):
    """Return the pairs of entry and rung index whose time is within a factor of the cheapest within one of the gaps."""
    if record.best is None:
        return []
    pairs = {}
    for entry in record.entries:
        for gap in GAPS:
            reaching = entry.reaching(gap, record.best)
            shortest = min((rung.time for rung in reaching), default=0.0)
            for rung in reaching:
                if rung.time <= near * shortest:
                    index = entry.rungs.index(rung)
                    pairs[entry.name, index] = (entry, index)
    return list(pairs.values())


def _repeat(worker, record, plan, report):
    """Repeat the cheapest rungs in turn, so that a slow phase of the machine affects all contestants."""
    pairs = _repeat_candidates(record)
    for entry in {entry.name: entry for entry, _ in pairs}.values():
        # the process may have been restarted since the first fits
        worker.ask("warm", entry.name)
    # the times of the first fits decide, so that all repeats of a rung are of one kind
    repeats = [plan.repeats_of(entry.rungs[index].seconds[0]) for entry, index in pairs]
    for done in range(max(repeats, default=0)):
        if done == FIRST_REPEATS:
            near = {(entry.name, index) for entry, index in _repeat_candidates(record, NEARER)}
            kept = [(entry.name, index) in near for entry, index in pairs]
            repeats = [number if keep else 0 for number, keep in zip(repeats, kept, strict=True)]
        turn = [pair for pair, number in zip(pairs, repeats, strict=True) if done < number]
        for position, (entry, index) in enumerate(turn):
            rung = entry.rungs[index]
            if rung.failure:
                continue
            remaining = len(turn) - position + sum(max(number - done - 1, 0) for number in repeats)
            report(remaining, f"repeat {done + 1}: {entry.name}, {rung.label}")
            # the first fit was within the limit; on a busy machine a repeat may take longer
            _fit(worker, entry, index, 1, 3 * plan.limit)


def _count_readings(worker, record, plan, report):
    """Fit each contestant once more where its readings of X can be counted."""
    runners = [entry for entry in record.entries if entry.finished() and is_counted(CONTESTANTS[entry.name])]
    for position, entry in enumerate(runners):
        report(len(runners) - position, f"readings: {entry.name}")
        rung = record.rung_of(entry, HEADLINE) or entry.finished()[-1]
        try:
            entry.readings = worker.ask("readings", entry.name, rung.label, limit=3 * plan.limit)
        except NoAnswerError:
            # the table shows a dash
            entry.readings = None


def _measure_peaks(workload, record, plan, report):
    """Fit each contestant once more in a new process and record the growth of its memory."""
    runners = [entry for entry in record.entries if entry.finished()]
    for position, entry in enumerate(runners):
        report(len(runners) - position, f"memory: {entry.name}")
        rung = record.rung_of(entry, HEADLINE) or entry.finished()[-1]
        worker = Worker(workload, plan.data)
        try:
            worker.ask("warm", entry.name)
            entry.peak_mib = worker.ask("peak", entry.name, rung.label, limit=3 * plan.limit)
            entry.peak_rung = rung.label
        except NoAnswerError:
            # the table shows a dash
            entry.peak_mib = None
        finally:
            worker.stop()
