"""Tests of the whole system. A package, so that the system of its tests ends with the last of them."""
