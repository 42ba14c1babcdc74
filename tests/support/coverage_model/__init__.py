"""A model of collecting that can disagree with the code: an adversarial exchange, many runs, and the truth.

`truth` says which candles exist, and `odd_exchange` sends them in every odd way that was reported. `histories`
generates the events. `world` plays them with the scheduler's progress, the collector's reader and a ledger.
`invariants` judges the result after every run. Everything is pure and synchronous.
"""
