"""A small scripted SIP phone."""
