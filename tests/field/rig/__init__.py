"""The field rig: real SIP software around a real firewall, in network namespaces of our own.

Six words: a `Host` is one machine (a namespace with an address); a `Network` is all of them with their switches, the
firewall and the remote worker's home router; a `Program` is one process on a host with its log; a `Capture` is what
passed a switch; an `Ear` turns captured RTP into what a listener hears; a `Hearing` says which tone was heard, how
loud, and the longest gap in it.

A test reads: programs are started on hosts, somebody dials, both sides play their own tone, both ears are judged, the
outside capture is searched for inside addresses, and the firewall's counter of everything else must stand at zero.
"""
