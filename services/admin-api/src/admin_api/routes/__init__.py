"""HTTP in, one verb or query called, JSON out."""
