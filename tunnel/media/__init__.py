"""Media: SDP editing, offer/answer, port leases, latching, and the pump that moves RTP."""
