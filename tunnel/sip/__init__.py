"""SIP: lossless messages, transactions, and the half proxy that stands on each face.

A request's way through both ends and that of its answer, by the files where they pass:

    listener -> tunnel/face.py -> relay -> near ==wall==> far -> ways -> rewrite -> targets -> listener
    listener <- arrivals <- answers <==wall== returns <- far <- listener

| room | files |
| --- | --- |
| a message, every byte kept | message, grammar, edit, uri, name_addr, via, framing, response |
| transactions (RFC 3261, 17) | client_transaction, server_transaction, states, timers, transaction_events, transaction_key |
| sockets | listener [io], udp_listener [io], connections [io], connection [io], sockets [io], stun; flow: between whom |
| where a URI leads | resolve [io], srv_order, hosts_file [io], next_hop, targets, target_health, big_requests |
| masks and ways back | mask, contacts, bindings, sender, keepalives, event_bodies, known_leaks |
| the half proxy | relay: what comes in; half: what both roles share; relay_events; face_index: all sessions of a face |
| its near role | near, arrivals, answers, registrations |
| its far role | far, departures, ways, rewrite, requests, returns |
| calls | dialog, subscriptions, agenda, orphans, bodies |
| who may what | policy, trust, refusal |
| across the wall | wall |
"""
