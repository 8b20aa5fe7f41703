"""Trials tried for a moment in a process of their own, one after another, until the time is up."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from dlperf import entry_points
from dlperf.engines.execution import portable
from dlperf.errors import DlperfError
from dlperf.parameters import Parameters
from dlperf.trial import Rehearsed

_LEAST_SECONDS, _MOST_SECONDS = 1.0, 5.0  # of timed steps


def rehearse(problem: str, trials: Sequence[Parameters], seconds: float) -> list[Rehearsed]:
    """Try trials in their order for `seconds` at most; return what the first ones take, as many as there was time for.

    Raises:
        DlperfError: What a trial raises, where none before it could be tried.
    """
    deadline = time.monotonic() + seconds
    context = multiprocessing.get_context("spawn")  # a fork would inherit TensorFlow's threads half
    connection, far = context.Pipe()
    process = context.Process(target=_serve, args=(problem, trials, seconds, far), name="dlperf dry run", daemon=True)
    process.start()
    far.close()
    done: list[Rehearsed] = []
    try:
        while len(done) < len(trials) and connection.poll(max(0.0, deadline - time.monotonic())):
            answer = connection.recv()
            if isinstance(answer, DlperfError):
                if not done:
                    raise answer
                break
            done.append(answer)
    except EOFError:  # it was ended, for want of memory perhaps: what is known is known
        pass
    finally:
        process.kill()
        process.join()
        connection.close()
    return done


def _serve(name: str, trials: Sequence[Any], seconds: float, connection: Connection) -> None:
    from dlperf import environment
    from dlperf.process_settings import onednn, xla_cache

    problem, ends = entry_points.load_problem(name), time.monotonic() + seconds
    try:
        for number, trial in enumerate(trials):
            begun = time.monotonic()
            share = (ends - begun) / (len(trials) - number) / 3  # a part of the time goes to compilation
            steps = min(_MOST_SECONDS, max(_LEAST_SECONDS, share))
            if problem.distributed:
                connection.send(problem.distributed.rehearse(trial, steps))
                continue
            onednn.choose(getattr(trial, "onednn", None))
            xla_cache.use(getattr(trial, "threads", 0))
            from dlperf.training.rehearsal import rehearse as rehearse_here

            environment.reset_peak_memory()
            assert problem.prepare is not None
            speed = rehearse_here(problem.prepare(trial), steps)
            spent = time.monotonic() - begun - steps * (1 + 0.25 * 3)
            connection.send(Rehearsed(max(0.0, spent), speed.epoch, speed.test, environment.peak_memory_mb()))
    except Exception as error:
        connection.send(portable(error))
