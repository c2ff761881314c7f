"""What a reasoning model thinks aloud is no part of its answer."""

_OPEN, _CLOSE = "<think>", "</think>"


def cut_thoughts(text: str) -> tuple[str, bool]:
    """Return a completion without the thoughts before it, and whether there were any.

    Where the chat template has opened the thoughts, the text holds their end alone. Thoughts that
    never end leave nothing. Tags further on belong to the answer.
    """
    start = text.lstrip()
    head, end, answer = start.partition(_CLOSE)
    if start.startswith(_OPEN) or (end and _OPEN not in head):
        return answer.lstrip(), True
    return text, False
