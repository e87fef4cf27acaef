"""Carriers: ways to move bytes out of the building. Dumb pipes; the session is secure by itself."""
