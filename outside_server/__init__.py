"""The outside end: public SIP and media ports for enterprises whose agents connect to its tunnel listener.

config = outside_server.load(Path("server.toml"))
server = await nursery.start(outside_server.serve, config)
"""

from outside_server.config import ServerConfig, load
from outside_server.server import Server, serve

__all__ = ["Server", "ServerConfig", "load", "serve"]
