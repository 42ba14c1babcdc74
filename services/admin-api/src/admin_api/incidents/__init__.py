"""Silence of all symbols of an exchange at the same time, computed from the stored absences."""
