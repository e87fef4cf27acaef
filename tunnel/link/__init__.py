"""The link: one secure, resumable session over any byte pipe."""
