"""Manifests: the file format for all configs, its parser, and the comparison of a file with the database."""
