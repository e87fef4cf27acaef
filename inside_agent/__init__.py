"""The inside end: phones and PBXs on the LAN talk to it, and it talks to the server through one outbound connection.

config = inside_agent.load(Path("agent.toml"))
agent = await nursery.start(inside_agent.serve, config)
"""

from inside_agent.agent import Agent, serve
from inside_agent.config import AgentConfig, load

__all__ = ["Agent", "AgentConfig", "load", "serve"]
