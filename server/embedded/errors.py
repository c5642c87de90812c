"""What the embedded servers report to whoever starts them."""


class EmbeddedServiceError(RuntimeError):
    """An embedded server cannot run here; the message says why and what to do."""
