"""Settings of every fuzz target: a busy machine is no defect, so no example has a deadline and none is too slow."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")
