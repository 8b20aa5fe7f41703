"""Closed forms, the shapes of built layers and compiled programs say the same of models composed at random.

DLPERF_RANDOM_MODELS=5000 python -m pytest tests/keras_accounting/test_random_models.py
"""

from __future__ import annotations

import os

import keras
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.random_models import by_built_shapes, random_model
from tests.support.three_ways import assert_three_ways

MODELS = int(os.environ.get("DLPERF_RANDOM_MODELS", "500"))
forgotten_after = iter(range(0, 10**9))


@settings(max_examples=MODELS, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_three_counts_of_random_models_are_one(data: st.DataObject) -> None:
    if next(forgotten_after) % 100 == 0:
        keras.backend.clear_session()  # what was built before only slows down
    model = random_model(data.draw)
    table = assert_three_ways(model)
    assert (table.activations, table.multiplications) == by_built_shapes(model)
