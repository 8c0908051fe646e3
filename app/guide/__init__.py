"""The guide, measured: threads, processes or asyncio, for which work, on this machine.

The command (`command.py`) has each situation measured in a process of its own (`child.py`), which
tells line by line what it found; nothing here is imported by it before it is needed.
"""
