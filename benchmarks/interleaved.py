"""Times of calls that alternate, so that a slow phase of the machine affects all of them alike."""

import gc
import statistics
import time

import numpy as np

# a time is the median over a burst of calls that takes so many seconds, and at most so many calls
BURST_SECONDS, BURST_CALLS = 0.05, 20
# seconds before each burst, in which waiting threads of the previous one stop spinning; those of OpenBLAS take 0.1
PAUSE = 0.2
# a call that takes so many seconds is called once before the first round, others twice
LONG_SECONDS = 1.0


def burst(call, n_calls):
    """Return the median time of so many calls in a row."""
    gc.collect()
    time.sleep(PAUSE)
    times = []
    for _ in range(n_calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def rounds(measures, budget, n_rounds, random):
    """Measure all in turn, each round in random order.

    Parameters
    ----------
    measures : list of callable
        Each takes a number of calls and returns the median of their seconds, as `burst` does.
    budget : float
        Seconds for all rounds.
    n_rounds : (int, int)
        Fewest and most rounds.
    random : numpy.random.Generator
        The order within the rounds.

    Returns
    -------
    (r, m) array
        The seconds of each measure in each round.
    """
    # the first call of each takes longer; that of a long one shows its length well enough
    first = [measure(1) for measure in measures]
    first = [
        seconds if seconds > LONG_SECONDS else measure(1) for measure, seconds in zip(measures, first, strict=True)
    ]
    n_calls = [int(np.clip(BURST_SECONDS / seconds, 1, BURST_CALLS)) for seconds in first]
    a_round = sum(PAUSE + number * seconds for number, seconds in zip(n_calls, first, strict=True))
    times = np.empty((int(np.clip(budget / a_round, *n_rounds)), len(measures)))
    for row in times:
        for index in random.permutation(len(measures)).tolist():
            row[index] = measures[index](n_calls[index])
    return times
