"""What both ends of the pair share.

Six words: a **face** is one end's side towards a network; a **carrier** moves bytes out of the building; a **session**
is one agent's authenticated, resumable link over whichever carrier got through; a **stream** is one media flow; a
**lease** is the port pair a face holds for a stream; a **mask** is a sealed token that stands for an address of the
other side.

A packet travels ``phone -> pump -> outbox -> session -> carrier == wall == carrier -> session -> pump -> peer``;
signalling passes two rooms more: ``listener -> relay -> session`` and ``session -> relay -> listener``.
"""
