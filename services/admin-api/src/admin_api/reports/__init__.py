"""Reports that combine runs, configs and exchanges."""
