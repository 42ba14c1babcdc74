"""The exchange catalogue as the API shows it."""
