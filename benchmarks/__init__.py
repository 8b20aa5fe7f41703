"""Measurements of dlperf beside the notebook it replaces: each module runs alone and can be called."""
