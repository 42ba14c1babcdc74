"""Manifests: the file format of all configs, its parser, and the difference that an apply makes."""
