"""A model of collecting that can disagree with the code: an adversarial exchange, many runs, and the truth.

`truth` says which candles exist, `odd_exchange` sends them in every odd way that was reported, `histories` generates
worlds and their events, `world` drives the scheduler's progress, the collector's reader and a ledger, and `invariants`
judges the result after every run. Everything is pure and synchronous.
"""
