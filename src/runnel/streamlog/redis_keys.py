"""The keys of the logs in Redis. Their braces put them into one slot, so that a script may touch all."""


class Keys:
    """All that begins with `{PREFIX}:`; deployments with other prefixes see nothing of it."""

    def __init__(self, prefix: str) -> None:
        self.home = f"{{{prefix}}}:"
        self.bytes = f"{self.home}bytes"
        self.sizes = f"{self.home}sizes"
        self.expires = f"{self.home}expires"
        self.finished = f"{self.home}finished"

    @property
    def accounts(self) -> tuple[str, str, str, str]:
        """What all logs weigh, what each weighs, when each goes, and when each has ended."""
        return self.bytes, self.sizes, self.expires, self.finished

    def log(self, generation_id: str) -> str:
        """The Stream: an entry a batch, whose id is the position of its last event."""
        return f"{self.home}log:{generation_id}"

    def meta(self, generation_id: str) -> str:
        """A hash: epoch, last, fence, closed, and the nonce of the last step that was taken."""
        return f"{self.home}meta:{generation_id}"

    def wake(self, instance: str) -> str:
        """A Stream of the instance's own, to end its own waiting."""
        return f"{self.home}wake:{instance}"
