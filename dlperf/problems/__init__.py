"""The problems: one folder per problem, whose problem.py defines PROBLEM, a `dlperf.problem.Problem`."""
