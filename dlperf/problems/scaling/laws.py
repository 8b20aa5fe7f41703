"""How throughput grows with workers: speed-up, efficiency, and the laws fitted to it.

With t_n the time of a step of n workers: strong scaling keeps the whole batch, so its speed-up is S(n) = t_1 / t_n and
its efficiency S(n) / n; weak scaling keeps the batch of a worker, so its efficiency is t_1 / t_n and its scaled
speed-up n times that. Laws of S(n), all with S(1) = 1:

- Amdahl 1967: S(n) = 1 / (f + (1 - f) / n), f the share of the work that is serial.
- Gustafson 1988 (scaled speed-up): S(n) = n - f (n - 1).
- Universal Scalability Law (Gunther 1993): S(n) = n / (1 + sigma (n - 1) + kappa n (n - 1)), contention and coherence.
- A ring all-reduce under the alpha-beta model (Thakur, Rabenseifner, Gropp 2005): it takes 2 (n - 1) alpha +
  2 (n - 1) / n x bytes x beta beside the compute c_n of a step, so S(n) = t_1 / (c_n + that), c_n = t_1 / n (strong) or
  t_1 (weak, times n).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

Mode = Literal["strong", "weak"]
Floats = NDArray[np.float64]
_BOOTSTRAP = 400
_INTERVAL = (2.5, 97.5)


def speedup(mode: Mode, one: float, many: float, workers: int) -> float:
    """Return the speed-up of `workers` over one, scaled speed-up with weak scaling; times in any one unit."""
    return one / many * (workers if mode == "weak" else 1)


def efficiency(mode: Mode, one: float, many: float, workers: int) -> float:
    """Return the speed-up as a share of the ideal, `workers` times the speed of one."""
    return speedup(mode, one, many, workers) / workers


def serial_fraction(speed_up: float, workers: int) -> float:
    """Return the serial share that one measured speed-up would mean (Karp, Flatt 1990, equation 2).

    Raises:
        ValueError: With one worker it means nothing.
    """
    if workers < 2:
        raise ValueError(f"workers={workers}: at least 2 are needed")
    return (1 / speed_up - 1 / workers) / (1 - 1 / workers)


@dataclass(frozen=True)
class Law:
    """A law of the speed-up.

    Attributes:
        name: Its name.
        parameters: Names of its parameters.
        curve: Speed-up of numbers of workers under parameters.
        bounds: Lowest and highest value per parameter.
        start: Where the fit starts.
    """

    name: str
    parameters: tuple[str, ...]
    curve: Callable[[Floats, Floats], Floats]
    bounds: tuple[tuple[float, float], ...]
    start: tuple[float, ...]


def _amdahl(n: Floats, p: Floats) -> Floats:
    return 1 / (p[0] + (1 - p[0]) / n)


def _gustafson(n: Floats, p: Floats) -> Floats:
    return n - p[0] * (n - 1)


def _usl(n: Floats, p: Floats) -> Floats:
    return n / (1 + p[0] * (n - 1) + p[1] * n * (n - 1))


AMDAHL = Law("Amdahl", ("serial",), _amdahl, ((0.0, 1.0),), (0.05,))
GUSTAFSON = Law("Gustafson", ("serial",), _gustafson, ((0.0, 1.0),), (0.05,))
USL = Law("Universal Scalability Law", ("contention", "coherence"), _usl, ((0.0, 1.0), (0.0, 1.0)), (0.05, 0.001))


def ring_law(mode: Mode, step_seconds: float, gradient_bytes: int) -> Law:
    """Return the law of a ring all-reduce beside a step that takes one worker `step_seconds`.

    Args:
        mode: Whether compute per worker shrinks with workers ("strong") or stays ("weak").
        step_seconds: Time of a step of one worker.
        gradient_bytes: Bytes reduced per step.
    """

    def curve(n: Floats, p: Floats) -> Floats:
        reduce = 2 * (n - 1) * p[0] + 2 * (n - 1) / n * gradient_bytes * p[1]
        if mode == "strong":
            return step_seconds / (step_seconds / n + reduce)
        return n * step_seconds / (step_seconds + reduce)

    return Law("ring all-reduce", ("alpha_seconds", "beta_seconds_per_byte"), curve, ((0.0, 10.0), (0.0, 1e-3)),
               (1e-3, 1e-9))  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """A law fitted to measured speed-ups.

    Attributes:
        law: The law.
        values: Its parameters.
        intervals: 95 % interval per parameter, over resampled repeats.
        error: Root mean squared error of the speed-up, over the numbers of workers above 1.
        predicted: Speed-up of the number of workers asked for, and its 95 % interval; an extrapolation.
        points: Numbers of workers above 1 that it rests on.
    """

    law: Law
    values: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    error: float
    predicted: tuple[float, float, float]
    points: int

    @property
    def knee(self) -> float | None:
        """Workers beyond which more of them are slower, under the Universal Scalability Law; None where never."""
        if self.law.name != USL.name or self.values[1] <= 1e-12:
            return None
        return math.sqrt((1 - self.values[0]) / self.values[1])


def fit(law: Law, measured: Mapping[int, Sequence[float]], predict: int, random_seed: int = 0) -> Fit | None:
    """Fit a law to the repeated speed-ups of several numbers of workers.

    Args:
        law: What to fit.
        measured: Speed-ups by number of workers, one per repeat; one worker's, 1 by definition, are ignored.
        predict: Number of workers to predict for.
        random_seed: The resampled repeats follow from it.

    Returns:
        The fit, or None unless there are more numbers of workers than parameters: the curve would pass through any
        points.
    """
    counts = sorted(n for n in measured if n > 1)
    if len(counts) <= len(law.parameters):
        return None
    workers = np.array(counts, np.float64)
    values = _least_squares(law, workers, np.array([float(np.median(measured[n])) for n in counts]))
    rng = np.random.default_rng(random_seed)
    drawn = [
        tuple(float(np.median(rng.choice(np.asarray(measured[n]), len(measured[n])))) for n in counts)
        for _ in range(_BOOTSTRAP)
    ]
    solved = {one: _least_squares(law, workers, np.array(one)) for one in set(drawn)}  # few repeats are drawn alike
    resampled = np.array([solved[one] for one in drawn])
    bounds = np.percentile(resampled, _INTERVAL, axis=0)
    at = np.array([predict], np.float64)
    predictions = [float(law.curve(at, one)[0]) for one in resampled]
    residuals = law.curve(workers, values) - [float(np.median(measured[n])) for n in counts]
    return Fit(
        law=law,
        values=tuple(map(float, values)),
        intervals=tuple((float(low), float(high)) for low, high in bounds.T),
        error=float(np.sqrt(np.mean(residuals**2))),
        predicted=(float(law.curve(at, values)[0]), *(float(x) for x in np.percentile(predictions, _INTERVAL))),  # type: ignore[arg-type]
        points=len(counts),
    )


def _least_squares(law: Law, workers: Floats, speed_ups: Floats) -> Floats:
    low, high = (np.array(side) for side in zip(*law.bounds, strict=True))
    # Parameters differ by many powers of ten; in units of their starting values all are near 1.
    unit = np.array(law.start)
    solution = optimize.least_squares(
        lambda scaled: law.curve(workers, scaled * unit) - speed_ups,
        np.ones(len(unit)),
        bounds=(low / unit, high / unit),
    )
    values: Floats = solution.x * unit
    return values
