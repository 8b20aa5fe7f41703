"""The problems: a folder each, whose problem.py has a `dlperf.problem.Problem` called PROBLEM."""
