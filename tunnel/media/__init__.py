"""Media: SDP editing, offer/answer, port leases, latching, and the pump that moves RTP.

| room | files |
| --- | --- |
| a description, every byte kept | sdp, sdp_edit, body, described |
| the media of a call | offer_answer, exchange: offer or answer, as a table; branch: one dialog; streams, channels |
| what a call asks of packets | plane |
| whose packets, and where to | latch, lease, hairpin, opening, nat_keeper |
| packets | pump [io], drain [io], leg [io], tie [io], sockets [io], pace |
| what is measured of them | rtp, quality, survey [io] |
"""
