"""Attacks on a running system, all at once.

The attackers are a hostile viewer, a hostile operator, an admin with faulty files, and a program inside the network.

An attack is a function in one of the modules. It sends one round of requests and counts them and their answers.
`catalogue.py` lists all attacks. `python -m support.abuse` runs all of them, or those that are named.
"""
