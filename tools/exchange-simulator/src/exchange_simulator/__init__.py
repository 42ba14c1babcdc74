"""A local server with the public REST dialects of real exchanges, for tests, demonstrations and benchmarks."""

from exchange_simulator.app import build_app, running
from exchange_simulator.settings import Replay, SimulatorSettings

__all__ = ["Replay", "SimulatorSettings", "build_app", "running"]
