"""Who is asked what, when: one workload after the other, each in a process that can be stopped."""

import multiprocessing
from dataclasses import dataclass

from benchmarks.contestants import CONTESTANTS
from benchmarks.environment import with_libraries
from benchmarks.results import GAPS, HEADLINE, Entry, Record, RungRecord
from benchmarks.worker import serve

# a fit longer than this is repeated once only
LONG_SECONDS = 10.0
# rungs this near to the cheapest are repeated too, as its one fit may have been luck
NEAR = 1.5


@dataclass(frozen=True)
class Plan:
    """What was asked for on the command line."""

    contestants: tuple[str, ...]
    repeats: int
    limit: float
    data: str | None
    memory: bool
    rungs: int | None = None  # of each ladder, at most


class NoAnswerError(Exception):
    """A worker ran into the time limit, or died."""

    def __init__(self, reason, *, timed_out):
        super().__init__(reason)
        self.timed_out = timed_out


class Worker:
    """A process that holds one workload, started anew when it had to be stopped."""

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
            kind, value = "skipped", "the process that loads it died"
        self.facts, self.skipped = (value, None) if kind == "loaded" else (None, value)

    def ask(self, *request, limit=None):
        """Return the answer, within `limit` seconds for the fit itself."""
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
        """End the process; the next question starts another."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def run_workload(workload, plan, tell, left_behind):
    """Return the `Record` of a workload.

    Parameters
    ----------
    workload : Workload
        What to fit.
    plan : Plan
        By whom, and how often.
    tell : callable
        Told the number of steps left to do and what is being done.
    left_behind : set of str
        Contestants that were too slow for a smaller size of this growth series; added to.

    Returns
    -------
    Record
        Everything measured.
    """
    about = {"name": workload.name, "group": workload.group, "description": workload.description}
    record = Record(**about, limit=plan.limit, environment={}, series=workload.series, size=workload.size)
    tell(1, "loading")
    worker = Worker(workload, plan.data)
    try:
        if worker.skipped is not None:
            record.skipped = worker.skipped
            record.environment = with_libraries()
            return record
        facts = dict(worker.facts)
        stored_sparse = facts.pop("stored_sparse")
        for key, value in facts.items():
            setattr(record, key, value)
        record.pass_seconds = worker.ask("pass")
        for name in plan.contestants:
            refusal = CONTESTANTS[name].refusal(stored_sparse=stored_sparse, n_classes=record.classes)
            if refusal is None and name in left_behind:
                refusal = "too slow at a smaller size"
            record.entries.append(Entry(name, refusal))
        _climb(worker, record, plan, tell)
        left_behind.update(entry.name for entry in record.entries if entry.timed_out and not entry.finished())
        _repeat(worker, record, plan, tell)
    finally:
        worker.stop()
    if plan.memory:
        _measure_peaks(workload, record, plan, tell)
    return record


def _climb(worker, record, plan, tell):
    """Fit each contestant once a rung, from the loosest, until the time limit stops it."""
    for entry in (entry for entry in record.entries if entry.refusal is None):
        ladder = CONTESTANTS[entry.name].rungs(plan.rungs)
        entry.whole = ladder == CONTESTANTS[entry.name].ladder
        try:
            worker.ask("warm", entry.name, limit=plan.limit)
        except NoAnswerError as error:
            entry.refusal = str(error)
            continue
        for index, rung in enumerate(ladder):
            tell(len(ladder) - index, f"{entry.name}, {rung.label}")
            entry.rungs.append(RungRecord(rung.label, rung.default))
            if not _fit(worker, entry, index, plan.limit):
                break
            # one fit, or several short ones: in doubt the limit is on each
            if entry.rungs[-1].time > plan.limit:
                break


def _fit(worker, entry, index, limit):
    """Add one fit to a rung; return whether tighter rungs are worth a try."""
    rung = entry.rungs[index]
    try:
        rung.add(*worker.ask("fit", entry.name, rung.label, limit=limit))
    except NoAnswerError as error:
        rung.failure, rung.timed_out = str(error), error.timed_out
        return False
    return True


def _worth_repeating(record):
    """Return pairs of entry and rung index that may be the cheapest within some gap."""
    if record.best is None:
        return []
    pairs = {}
    for entry in record.entries:
        for gap in GAPS:
            reaching = entry.reaching(gap, record.best)
            least = min((rung.time for rung in reaching), default=0.0)
            for rung in reaching:
                if rung.time <= NEAR * least:
                    index = entry.rungs.index(rung)
                    pairs[entry.name, index] = (entry, index)
    return list(pairs.values())


def _repeat(worker, record, plan, tell):
    """Repeat in turns, so that a slow minute of the machine falls on everyone."""
    pairs = _worth_repeating(record)
    for entry in {entry.name: entry for entry, _ in pairs}.values():
        # the process may have been started anew since the climb
        worker.ask("warm", entry.name)
    for done in range(plan.repeats):
        for position, (entry, index) in enumerate(pairs):
            rung = entry.rungs[index]
            if rung.failure or (done and rung.seconds[0] > LONG_SECONDS):
                continue
            left = (plan.repeats - done) * len(pairs) - position
            tell(left, f"repeat {done + 1}: {entry.name}, {rung.label}")
            # it fitted within the limit before; on a busy machine it may take longer
            _fit(worker, entry, index, 3 * plan.limit)


def _measure_peaks(workload, record, plan, tell):
    """Fit once more in a fresh process for each contestant, and see how far it grows."""
    runners = [entry for entry in record.entries if entry.finished()]
    for position, entry in enumerate(runners):
        tell(len(runners) - position, f"memory: {entry.name}")
        rung = record.rung_of(entry, HEADLINE) or entry.finished()[-1]
        worker = Worker(workload, plan.data)
        try:
            worker.ask("warm", entry.name)
            entry.peak_mib = worker.ask("peak", entry.name, rung.label, limit=3 * plan.limit)
            entry.peak_rung = rung.label
        except NoAnswerError:
            # the table shows that there is no number
            entry.peak_mib = None
        finally:
            worker.stop()
