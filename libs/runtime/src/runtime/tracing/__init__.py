"""Traces of runs: from the API call or the slot to the row in the run log and the stored candles.

The trace id of a run is its run id. So every process puts its spans into the same trace, even after a restart or for a
repeated message, and no trace id has to be stored. `spans` is the part that services use, `exporter` is the only module
that imports OpenTelemetry. It is imported only if an endpoint is set.
"""
