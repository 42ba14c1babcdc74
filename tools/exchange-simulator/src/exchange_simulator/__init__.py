"""A local server with the public REST dialects of real exchanges, for tests, demonstrations and benchmarks."""

from exchange_simulator.app import build_app, running
from exchange_simulator.settings import Replay, SimulatorSettings
from exchange_simulator.simulator import Simulator
from exchange_simulator.truth import SeriesTruth, read_truth

__all__ = ["Replay", "SeriesTruth", "Simulator", "SimulatorSettings", "build_app", "read_truth", "running"]
