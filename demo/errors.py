"""What the demo says when it cannot go on."""


class DemoError(Exception):
    """A reason for people, with the mend. Printed without a traceback."""
