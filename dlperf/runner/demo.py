"""The demo: the reduced start of every problem, below one run, and a page of them."""

from __future__ import annotations

from collections.abc import Mapping

from dlperf import entry_points, environment
from dlperf.page.chapter import Chapter
from dlperf.page.note import note
from dlperf.parameters import texts
from dlperf.problem import Demo
from dlperf.runner import page, trial_run
from dlperf.runner.problem_run import read_arguments, run_problem
from dlperf.runner.resume import identity_tags
from dlperf.runner.sweep import raise_failures, report_failure
from dlperf.tracking.run import Run
from dlperf.tracking.store import Store
from dlperf.tracking.system_metrics import monitored

_BY = "a demonstration: trials of seconds on small images and networks, which settle nothing"


def run_demo(store: Store, run: Run, demo: Demo, raw: Mapping[str, str]) -> None:
    """Run the reduced start of every problem below `run`; one that fails does not stop the others."""
    run = store.caught_up(run)
    arguments = read_arguments(run, demo, raw)
    if arguments is None:
        return
    trial_run.keep_journal(store, run, demo.name, arguments.trials[0])
    failures: dict[str, Exception] = {}
    chapters: list[Chapter] = []
    with run, monitored(run, store.uri):
        run.begin(demo, demo.name, "sweep", texts(arguments.trials[0]), identity_tags(demo, arguments))
        run.facts({}, {"dlperf.hardware": environment.hardware()}, environment.describe())
        children = store.children(run, "dlperf.problem")
        for name in demo.problems:
            problem = entry_points.load_problem(name)
            child = children.get(name) or store.create(problem.name, parent=run)
            try:
                declared = problem.parameters.model_fields
                shared = {key: text for key, text in arguments.explicit.items() if key in declared}
                trials = run_problem(store, child, problem, {**problem.demo, **shared})
                if trials is None:
                    trials = page.trials_of(store, problem, child)
                chapters.append(page.of(problem, trials))
            except Exception as error:
                failures[name] = report_failure(name, error)
        page.log(run, store, chapters, _BY)
        run.describe(note(chapters))
        raise_failures(failures, len(demo.problems))
