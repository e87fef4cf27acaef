"""The link: one secure, resumable session over any byte pipe.

| room | files |
| --- | --- |
| the wire | frames, control, secure: TLS over any byte pipe |
| a session | session, states, events, keepalive; resume: signalling that survives a cut |
| what leaves, and in which order | outbox, priority |
| what comes, and how late | inbox, lateness |
| over carriers | driver [io] |
| who the ends are | identity, credentials, token, joining, join_wire [io] |
"""
