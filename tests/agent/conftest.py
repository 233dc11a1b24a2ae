"""Settings of the agent's property tests."""

from __future__ import annotations

from hypothesis import settings

# A loaded machine is no failure: no test of ours measures time.
settings.register_profile("longfold", deadline=None)
settings.load_profile("longfold")
