"""What the accounts refuse."""


class AccountError(ValueError):
    """The change is not made; the message says why and what would be accepted. It holds no secret."""


class RefusedError(AccountError):
    """A login that does not succeed. The message is the same whether or not there is such an account."""


class WaitError(RefusedError):
    """Too many failures: the next try is allowed after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, round(seconds + 0.5))
        wait = f"{self.seconds} s" if self.seconds < 120 else f"{self.seconds // 60} minutes"
        super().__init__(f"Too many failed attempts. Try again in {wait}.")
