"""What a tool raises when it can't give a result."""


class ToolError(Exception):
    """A call that failed. Its text is short and in lower case, for the model to read as the call's output."""
