"""HTTP parts that several features share: errors, problems, pagination, ETags, input types and rate limits."""
