"""SIP: lossless messages, transactions, and the half proxy that stands on each face."""
